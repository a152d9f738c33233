//! The nodes that serve from this store, as far as each of them says so.

use portcullis_admin_api::store::StoreError;

use super::statement::nodes;
use super::{Lane, Store, row};

/// A node, and how often it has said that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBeat {
    /// Its name.
    pub node: String,
    /// From 1.
    pub beat: i64,
}

impl Store {
    /// Says that this node is there. The first is this node's own word, then all there are.
    ///
    /// # Errors
    /// The database is away.
    pub async fn beat(&self, node: &str) -> Result<(NodeBeat, Vec<NodeBeat>), StoreError> {
        let own = self.0.read(nodes::beat(node), row::node, Lane::Admin).await?.into_iter().next();
        let own = own.ok_or_else(|| StoreError::Unavailable("a node could not say that it is there".to_owned()))?;
        Ok((own, self.0.read(nodes::all(), row::node, Lane::Admin).await?))
    }

    /// Takes a node out that has ended, unless it has said something since.
    ///
    /// # Errors
    /// The database is away.
    pub async fn remove_node(&self, ended: &NodeBeat) -> Result<(), StoreError> {
        self.0.read(nodes::remove(&ended.node, ended.beat), |_| Ok(()), Lane::Admin).await.map(drop)
    }
}

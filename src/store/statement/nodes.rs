//! The statements of the nodes that serve.

use super::Statement;
use crate::store::param::Param;

/// Says that a node is there; how often it has said so.
pub(in crate::store) fn beat(node: &str) -> Statement {
    Statement::fixed(
        "INSERT INTO nodes (node, beat) VALUES ($1, 1) ON CONFLICT (node) DO UPDATE SET beat = nodes.beat + 1 \
         RETURNING node, beat",
        vec![Param::Text(node.to_owned())],
    )
}

pub(in crate::store) fn all() -> Statement {
    Statement::fixed("SELECT node, beat FROM nodes", Vec::new())
}

/// Takes a node out; `beat`: only if it has said nothing since.
pub(in crate::store) fn remove(node: &str, beat: i64) -> Statement {
    Statement::fixed(
        "DELETE FROM nodes WHERE node = $1 AND beat = $2",
        vec![Param::Text(node.to_owned()), Param::Integer(beat)],
    )
}

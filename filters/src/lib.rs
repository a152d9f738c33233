//! The decision of Portcullis: from a request head to a [`Permit`](policy::Permit) or a [`Denial`](denial::Denial).
//!
//! Pure functions over `http` types. Nothing here opens a socket, a file or a database: the caller brings the bytes,
//! the key store and the clock, so another Pingora (or hyper) service can use this crate as its front door.
//!
//! The modules stand in the order a request meets them:
//!
//! | word | means |
//! | --- | --- |
//! | [`endpoint::Endpoint`] | which API call a canonical path names |
//! | [`head::RequestHead`] | borrowed method, canonical path, headers, client address |
//! | [`credential::CredentialSlots`] | the places in a request where a credential may sit, in order |
//! | [`credential::Credential`] | the secret as presented, unverified |
//! | [`directory::Directory`] | what is kept of users and teams |
//! | [`principal::Principal`] | who it is, after authentication |
//! | [`authn::Authenticators`] | the chain that turns a credential into a principal; first to answer wins |
//! | [`operation::Operation`] | what the caller wants: endpoint, model, stream |
//! | [`client_side::ClientSide`] | what the caller brings of its own: a provider's key, an address |
//! | [`policy`] | proof that policy allowed this operation |
//! | [`usage::Usage`] | the tokens that an answer says it took |
//! | [`price::Price`] | what they cost |
//! | [`limits::Reservation`] | capacity held while the request runs |
//! | [`route::Upstream`] | one concrete endpoint of a provider, with its credential |
//! | [`outbound::Outbound`] | which addresses a client may choose |
//! | [`denial::Denial`] | why not; becomes the response in [`answer`] |
//!
//! A stage imports the stages above it, [`denial`], [`principal`], [`price`] and [`usage`]; never one below it.

pub mod calendar;
pub mod denial;
pub mod price;
pub mod secret;
pub mod usage;

pub mod head;
pub mod path;
pub mod source;
pub mod strict;

pub mod endpoint;

pub mod credential;
pub mod directory;
pub mod principal;

pub mod authn;
pub mod cache;

pub mod client_side;
pub mod operation;
pub mod policy;

pub mod limits;
pub mod outbound;
pub mod route;

pub mod answer;

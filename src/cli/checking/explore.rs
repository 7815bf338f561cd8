//! `fencepost explore`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use clap::Args;
use fencepost_model::check::ScopeSearch;
use fencepost_model::scope;
use fencepost_model::world::Contract;
use stateright::Model as _;

use crate::checking::CannotCheck;
use crate::ended::{Ended, Failed};

/// Explore the states of a scope of the model in a browser, on loopback. Ctrl-C ends it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The name of a scope.
    scope: String,
    /// The port on 127.0.0.1.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let name = &arguments.scope;
    let scope = scope::by_name(name).ok_or_else(|| CannotCheck::UnknownScope(name.clone()))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let unavailable = |source| CannotCheck::Address { address: address.to_string(), source };
    // The server panics if it cannot listen, so the address is tried first.
    drop(TcpListener::bind(address).map_err(unavailable)?);
    println!("{name}: {}", scope.about);
    println!("open http://{address} in a browser; Ctrl-C ends");
    ScopeSearch::new(scope, Arc::new(Contract)).checker().serve(address);
    Ok(Ended::Held)
}

//! The ways between the servers of a cluster.

use super::proxy::{Link, Proxy};
use crate::servers::{Servers, Settings};

/// A server opens its connections to each other server through a proxy.
#[derive(Default)]
pub struct Routes(Vec<Route>);

struct Route {
    from: usize,
    to: usize,
    proxy: Proxy,
}

impl Routes {
    /// Three servers, and the ways between them.
    pub fn and_servers() -> Option<(Self, Servers)> {
        let mut routes = Self::default();
        let servers = Servers::start_through(
            3,
            |_| Settings::default(),
            |from, to, port| {
                let proxy = Proxy::start(port);
                let port = proxy.port();
                routes.0.push(Route { from, to, proxy });
                port
            },
        )?;
        servers.wait_until_whole();
        Some((routes, servers))
    }

    /// Changes the ways between a server and all others.
    pub fn set(&self, server: usize, link: Link) {
        let of_server = |route: &&Route| route.from == server || route.to == server;
        let routes = self.0.iter().filter(of_server);
        routes.for_each(|route| route.proxy.set(link));
    }
}

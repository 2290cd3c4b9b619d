//! A way over a loopback port, which a test cuts and reopens.

use std::net::TcpListener as Bound;
use std::time::Duration;

use eventfold_es::disk::SplitMix64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// The delay of each piece on a slow way.
const DELAY: Duration = Duration::from_millis(20);

/// The state of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Open,
    /// All connections are closed, and new ones too.
    Cut,
    /// Connections stay open, and nothing arrives. It arrives when the way is open again.
    Silent,
    /// The same on the way to the server. Its answers arrive.
    Unheard,
    /// Everything arrives late.
    Slow,
}

impl Link {
    /// A way that is not as it should be.
    pub fn bad(random: &mut SplitMix64) -> Self {
        [Self::Cut, Self::Silent, Self::Unheard, Self::Slow][random.below(4)]
    }
}

pub struct Proxy {
    port: u16,
    link: watch::Sender<Link>,
}

impl Proxy {
    /// A way to a port. Its tasks run on the present runtime.
    pub fn start(server: u16) -> Self {
        let bound = Bound::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(bound).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (link, state) = watch::channel(Link::Open);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *state.borrow() != Link::Cut {
                    tokio::spawn(pass(client, server, state.clone()));
                }
            }
        });
        Self { port, link }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

async fn pass(client: TcpStream, server: u16, link: watch::Receiver<Link>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = link.clone();
    tokio::select! {
        _ = cut.wait_for(|link| *link == Link::Cut) => {}
        () = one_way(from_client, to_server, link.clone(), &[Link::Open, Link::Slow]) => {}
        () = one_way(from_server, to_client, link, &[Link::Open, Link::Slow, Link::Unheard]) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
    passes: &[Link],
) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let state = link.wait_for(|link| passes.contains(link)).await;
        let Ok(state) = state.map(|state| *state) else {
            return;
        };
        if state == Link::Slow {
            sleep(DELAY).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

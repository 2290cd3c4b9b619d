//! The way from one node to PostgreSQL, which a test cuts and reopens.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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
}

pub struct Proxy {
    port: u16,
    link: watch::Sender<Link>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
        () = one_way(from_client, to_server, link.clone(), &[Link::Open]) => {}
        () = one_way(from_server, to_client, link, &[Link::Open, Link::Unheard]) => {}
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
        let is_open = link.wait_for(|link| passes.contains(link)).await.is_ok();
        if !is_open || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

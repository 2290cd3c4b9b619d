//! Customers, who place orders through any node. They do not know which node is the leader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::node::{IDEMPOTENCY_KEY, NewOrder};

/// The time that a node has to answer, before the customer asks the next.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// An order that was acknowledged.
#[derive(Debug)]
pub struct Placed {
    /// The time at which it was sent first.
    pub begun: Instant,
    pub at: Instant,
    pub qty: u32,
    /// How often it was sent.
    pub sent: u32,
}

pub struct Customer {
    pub number: usize,
    /// The addresses of all nodes.
    pub nodes: Arc<[String]>,
    pub http: Client,
    pub placed: mpsc::UnboundedSender<Placed>,
}

impl Customer {
    /// Places orders, one after the other.
    pub async fn place_all(self, orders: u32) -> Result<(), String> {
        // Each customer begins at another node.
        let mut nodes = self
            .nodes
            .iter()
            .cycle()
            .skip(self.number % self.nodes.len());
        let mut node = nodes.next().ok_or("there is no node")?;
        for number in 0..orders {
            let id = format!("ord-{}-{number}", self.number);
            let (sku, qty) = (format!("tea-{}", number % 3), 1 + number % 5);
            let order = NewOrder { sku, qty };
            let (begun, mut sent) = (Instant::now(), 1);
            while !self.place(node, &id, &order).await? {
                // The next node, with the same key: the order is placed once, even if the answer was lost.
                node = nodes.next().ok_or("there is no node")?;
                sent += 1;
                sleep(PAUSE).await;
            }
            let at = Instant::now();
            // The program may have ended.
            let _ = self.placed.send(Placed {
                begun,
                at,
                qty,
                sent,
            });
        }
        Ok(())
    }

    /// Whether the order is placed. Otherwise the outcome is unknown, or nothing was stored.
    async fn place(&self, node: &str, id: &str, order: &NewOrder) -> Result<bool, String> {
        let request = self.http.post(format!("{node}/orders/{id}"));
        let request = request.header(IDEMPOTENCY_KEY, id).json(order);
        let Ok(response) = request.timeout(PATIENCE).send().await else {
            return Ok(false);
        };
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::SERVICE_UNAVAILABLE => Ok(false),
            status => {
                let text = response.text().await.unwrap_or_default();
                Err(format!("{id}: {status}, {text}"))
            }
        }
    }
}

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacedV1 {
    qty: u32,
}

impl Upcast<OrderEvent> for PlacedV1 {
    fn upcast(self) -> OrderEvent {
        OrderEvent::Placed {
            qty: self.qty,
            gift: false,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    #[event(version = 2, upcast_from(1 => PlacedV1))]
    Placed {
        qty: u32,
        gift: bool,
    },
    Confirmed,
}

fn main() {}

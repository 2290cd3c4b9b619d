use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum OrderEvent {
    #[event(version = 3, upcast_from(1 => PlacedV1, 2 => PlacedV2))]
    Placed {
        sku: String,
        qty: u32,
        currency: String,
    },
}

#[derive(Deserialize)]
struct PlacedV1 {
    sku: String,
}

#[derive(Deserialize)]
struct PlacedV2 {
    sku: String,
    qty: u32,
}

impl Upcast<PlacedV2> for PlacedV1 {
    fn upcast(self) -> PlacedV2 {
        PlacedV2 {
            sku: self.sku,
            qty: 1,
        }
    }
}

impl Upcast<OrderEvent> for PlacedV2 {
    fn upcast(self) -> OrderEvent {
        OrderEvent::Placed {
            sku: self.sku,
            qty: self.qty,
            currency: "EUR".to_owned(),
        }
    }
}

fn main() {}

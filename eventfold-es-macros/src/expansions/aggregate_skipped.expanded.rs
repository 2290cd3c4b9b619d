#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Order {
    #[default]
    Open,
    Placed {
        qty: u32,
        #[serde(skip)]
        seen: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    #[cfg(feature = "returns")]
    Returned(u32, #[serde(default, skip_serializing)] u32),
    Shipped {
        #[cfg_attr(feature = "small", serde(skip_deserializing, default))]
        route: Vec<String>,
        #[serde(skip)]
        marker: std::marker::PhantomData<u8>,
        #[serde(skip)]
        nothing: (),
    },
}
#[automatically_derived]
impl ::eventfold_es::Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "order";
    const NOT_SAVED: &'static [&'static str] = &[
        "Placed.seen",
        #[cfg(feature = "returns")]
        "Returned.1",
        #[cfg(feature = "small")]
        "Shipped.route",
    ];
    const STATE: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Enum(
        &[
            ::eventfold_es::schema::Variant::new(
                "Open",
                ::eventfold_es::schema::Shape::Unit,
            ),
            ::eventfold_es::schema::Variant::new(
                "Placed",
                ::eventfold_es::schema::Shape::Struct(
                    &[
                        ::eventfold_es::schema::Field::new("qty", "u32"),
                        ::eventfold_es::schema::Field::new("by", "Option<String>")
                            .optional(),
                    ],
                ),
            ),
            #[cfg(feature = "returns")]
            ::eventfold_es::schema::Variant::new(
                "Returned",
                ::eventfold_es::schema::Shape::Tuple(
                    &[::eventfold_es::schema::Field::new("0", "u32")],
                ),
            ),
            ::eventfold_es::schema::Variant::new(
                "Shipped",
                ::eventfold_es::schema::Shape::Struct(
                    &[::eventfold_es::schema::Field::new("route", "Vec<String>")],
                ),
            ),
        ],
    );
    const COMMAND_TYPE: &'static str = "OrderCommand";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = ::eventfold_es::__private::Checked<
        OrderError,
        { ::eventfold_es::__private::is_rejection::<OrderError>() },
    >;
    fn handle(
        &self,
        command: OrderCommand,
    ) -> ::std::result::Result<::std::vec::Vec<OrderEvent>, OrderError> {
        <Self as ::eventfold_es::Decider>::decide(self, command)
    }
    fn apply(mut self, event: &OrderEvent) -> Self {
        <Self as ::eventfold_es::Decider>::evolve(&mut self, event);
        self
    }
    fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
        ::eventfold_es::__private::is_same!(self, other)
    }
    fn fingerprint(command: &OrderCommand) -> ::std::option::Option<u64> {
        ::eventfold_es::__private::fingerprint!(command)
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DecidedBy for OrderCommand {
    type Aggregate = Order;
}

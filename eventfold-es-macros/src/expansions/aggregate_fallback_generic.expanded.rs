#[allow(non_upper_case_globals, reason = "it stands in until the mistake is mended")]
const __Order_is_declared: bool = {
    ::core::compile_error! {
        "`#[aggregate]` does not go on a generic type: its stored name cannot mean several types; remove the parameters, and declare one type for each use"
    }
    true
};
pub struct Order<
    T = <() as ::eventfold_es::__private::If<__Order_is_declared>>::Type,
    const IS_DECLARED: bool = __Order_is_declared,
> {
    qty: T,
}
#[automatically_derived]
impl ::eventfold_es::contract::DecidedBy for OrderCommand {
    type Aggregate = Order;
}

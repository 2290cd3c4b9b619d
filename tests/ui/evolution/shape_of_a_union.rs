use eventfold_es::prelude::*;

#[derive(StoredShape)]
union Bits {
    whole: u32,
    halves: [u16; 2],
}

fn main() {}

use eventfold_es::prelude::*;

#[derive(StoredShape)]
enum Bits {
    Whole(u32),
    Halves([u16; 2]),
}

fn main() {}

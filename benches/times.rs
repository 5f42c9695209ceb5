//! Duration of the steps of a call: `cargo bench --features internals --bench times`.

mod functions;

use functions::{ALL, Function, inputs};

fn main() {
    divan::main();
}

/// One step of a call.
#[divan::bench(args = ALL)]
fn step(bencher: divan::Bencher<'_, '_>, function: &Function) {
    let inputs = inputs();
    bencher.bench(|| (function.once)(inputs));
}

//! Runs only one function, several times, for `benches/instructions` to count.
//!
//! `count` lists the functions; `count NAME TIMES` runs one.
#![allow(clippy::print_stdout, reason = "the list is read from standard output")]

mod functions;

use std::process::ExitCode;

use functions::{ALL, inputs};

fn main() -> ExitCode {
    // `cargo bench` adds this option.
    let given: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match given.as_slice() {
        [] => {
            for function in &ALL {
                println!("{function}");
            }
            ExitCode::SUCCESS
        }
        [name, times] => {
            let function = ALL.iter().find(|function| function.name == name);
            let (Some(function), Ok(times)) = (function, times.parse::<u32>()) else {
                return ExitCode::from(2);
            };
            let inputs = inputs();
            for _ in 0..times {
                (function.once)(inputs);
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

//! The program `fencepost`. What it does stands in `cli`; here it only ends with the right status.

fn main() -> std::process::ExitCode {
    fencepost_cli::main()
}

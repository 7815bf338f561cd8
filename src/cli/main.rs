//! The program `fencepost`: it runs the library of this crate and returns its exit status.

fn main() -> std::process::ExitCode {
    fencepost_cli::main()
}

//! Writes the test vectors that other implementations check themselves against.
//!
//! `cargo run --release --example vectors` rewrites `tests/vectors/*.json`; `tests/vectors.rs` checks that they still
//! say what the code does.

mod generate;

fn main() -> std::io::Result<()> {
    for (path, content) in generate::files() {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&path, content)?;
        println!("{}", path.display());
    }
    Ok(())
}

//! The published test vectors still say what the code does.

#[path = "../examples/vectors/generate.rs"]
mod generate;

#[test]
fn the_vectors_in_the_repository_are_those_that_the_code_makes() {
    for (path, expected) in generate::files() {
        let found = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let rewrite = "`cargo run --release --example vectors` rewrites it: is the wire format meant to change?";
        assert!(found == expected, "{} differs; {rewrite}", path.display());
    }
}

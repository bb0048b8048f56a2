//! The shared libraries that a program of this machine needs, as the dynamic linker finds them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ImageError;

/// The libraries of `program` and its interpreter; none for scripts, data and static programs.
pub fn libraries(program: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut magic = [0_u8; 4];
    let mut file = File::open(program).map_err(ImageError::file("open", program))?;
    if file.read_exact(&mut magic).is_err() || magic != *b"\x7fELF" {
        return Ok(Vec::new());
    }
    let failed = |reason: String| ImageError::Libraries { path: program.to_owned(), reason };
    let output =
        Command::new("ldd").arg(program).output().map_err(|error| failed(format!("ldd: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if [&text, &errors]
        .iter()
        .any(|out| out.contains("not a dynamic executable") || out.contains("statically linked"))
    {
        return Ok(Vec::new());
    }
    parse(&text).map_err(failed)
}

/// Lines `name => /path (address)` and `/interpreter (address)`; the kernel's own have no path.
fn parse(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.contains("not found") {
            return Err(line.to_owned());
        }
        let target = line.split_once("=>").map_or(line, |(_, target)| target.trim());
        let path = target.split_once(" (").map_or(target, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_interpreter_are_read_and_the_kernels_own_is_left_out() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007ff7)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007ff8)\n";
        assert_eq!(
            parse(text).unwrap(),
            [PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]
        );
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        assert!(parse("\tlibodd.so.1 => not found\n").unwrap_err().contains("libodd.so.1"));
    }

    #[test]
    fn data_has_no_libraries() {
        assert!(libraries(Path::new("/etc/passwd")).unwrap().is_empty());
    }
}

//! The API as its callers meet it: the program itself, asked over TCP.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Api {
    child: Child,
    address: String,
}

impl Api {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_water-dss"))
            .args(["serve", "--listen", "127.0.0.1:0", "--plan-milliseconds", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn plans_are_answered_and_counted_and_it_ends_when_it_is_told() {
    let mut api = Api::start();
    assert!(api.get("/ready").starts_with("HTTP/1.1 200"));
    let plan = api.get("/plan/7");
    assert!(plan.starts_with("HTTP/1.1 200") && plan.contains("\"seed\":7"), "{plan}");
    assert_eq!(plan.lines().last(), api.get("/plan/7").lines().last(), "the same question, the same plan");
    let metrics = api.get("/metrics");
    assert!(metrics.contains("\nhttp_requests_total 2\n"), "{metrics}");
    kill(Pid::from_raw(api.child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(api.child.wait().unwrap().success());
}

//! The whole application as child processes on loopback, on ports of the system's choice.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]
#![allow(clippy::disallowed_methods, reason = "tests wait on the real clock")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Callees before callers.
pub const ROLES: [(&str, &[&str]); 7] = [
    ("payment-provider", &[]),
    ("notification", &[]),
    ("accounting", &["payment-provider"]),
    ("kitchen", &[]),
    ("consumer", &[]),
    ("order", &["consumer", "kitchen", "accounting", "notification"]),
    ("gateway", &["order", "consumer", "kitchen", "accounting", "notification"]),
];

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder for one test, emptied first.
pub fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("food-delivery-{}-{name}-{number}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// One running service.
pub struct Process {
    pub child: Child,
    pub address: String,
    pub admin: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `role` with a configuration and waits until it listens.
    pub fn start(role: &str, folder: &Path, config: &Value, environment: &[(String, String)]) -> Self {
        let path = folder.join(format!("{role}.json"));
        std::fs::write(&path, config.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_food-delivery"))
            .args([role, "--config"])
            .arg(&path)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(environment.iter().cloned())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, sink) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let mut process = Self { child, address: String::new(), admin: String::new(), lines };
        let line = process.wait_for_line(|line| line.contains(r#""message":"listening""#));
        let line: Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().clone_into(&mut process.address);
        line["admin"].as_str().unwrap().clone_into(&mut process.admin);
        process
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that fits, waiting for it.
    pub fn wait_for_line(&self, fits: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| fits(line)) {
                return line;
            }
            assert!(Instant::now() < end, "the line never came; got {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// SIGKILL, then waits until the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the process did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a role that must not start; gives its exit code and standard error.
pub fn refused(role: &str, config: &str) -> (i32, String) {
    let path = scratch("broken").join("config.json");
    std::fs::write(&path, config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_food-delivery"))
        .args([role, "--config"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code().unwrap(), text)
}

/// A small HTTP client.
#[derive(Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Default for Http {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl Http {
    /// Status and JSON answer; `Err` when the connection failed.
    pub async fn send(
        &self,
        method: Method,
        address: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<(u16, Value), String> {
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = request
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| e.to_string())?;
        let response = self.0.request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    pub async fn get(&self, address: &str, path: &str) -> (u16, Value) {
        self.send(Method::GET, address, path, None, &Value::Null).await.unwrap()
    }
}

/// All services of the application.
pub struct App {
    pub services: BTreeMap<&'static str, Process>,
    pub http: Http,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl App {
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Starts everything; `environment` goes to each service.
    pub fn start_with(name: &str, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut app =
            Self { services: BTreeMap::new(), http: Http::default(), folder: scratch(name), environment };
        for (role, _) in ROLES {
            app.launch(role, "127.0.0.1:0", "127.0.0.1:0");
        }
        for (role, process) in &app.services {
            if !matches!(*role, "gateway" | "payment-provider") {
                process.wait_for_line(|line| line.contains(r#""message":"store open""#));
            }
        }
        app
    }

    fn launch(&mut self, role: &'static str, listen: &str, admin: &str) {
        let (_, callees) = ROLES.into_iter().find(|(name, _)| *name == role).unwrap();
        let callees: BTreeMap<_, _> =
            callees.iter().map(|callee| (*callee, self.services[callee].address.clone())).collect();
        let config = json!({
            "listen": listen, "admin": admin, "data": self.folder, "callees": callees,
            "lameDuckMilliseconds": 1_000,
        });
        let process = Process::start(role, &self.folder, &config, &self.environment);
        self.services.insert(role, process);
    }

    /// Starts a service again where it was.
    pub fn restart(&mut self, role: &'static str) {
        let old = self.services.remove(role).unwrap();
        let (listen, admin) = (old.address.clone(), old.admin.clone());
        drop(old);
        // The idle connections to the old process are of no use.
        self.http = Http::default();
        self.launch(role, &listen, &admin);
    }

    pub fn at(&self, role: &str) -> &str {
        &self.services[role].address
    }

    pub fn process(&mut self, role: &str) -> &mut Process {
        self.services.get_mut(role).unwrap()
    }

    /// Places an order at the gateway.
    pub async fn order(&self, key: &str) -> (u16, Value) {
        self.try_order(key, 1250).await.unwrap()
    }

    pub async fn try_order(&self, key: &str, cents: u32) -> Result<(u16, Value), String> {
        let body = json!({
            "consumer": "c-7", "amountCents": cents,
            "items": [{ "dish": "paella", "quantity": 2 }],
        });
        self.http.send(Method::POST, self.at("gateway"), "/orders", Some(key), &body).await
    }

    /// Places an order that must fail because of a service; gives the reason. The answer comes in
    /// time, and the order is cancelled then or, when no caller comes back for it, soon after.
    pub async fn failing_order(&self, key: &str) -> String {
        let since = Instant::now();
        let (status, answer) = self.order(key).await;
        let took = since.elapsed().as_millis();
        // The deadline is 2 s; one attempt too many would cost a second more.
        assert!(took <= 2900, "the caller waited {took} ms");
        assert!(matches!(status, 503 | 504), "{status} {answer}");
        self.read_until(&format!("/orders/{key}"), |order| order["state"] == "CANCELLED").await;
        answer["error"].as_str().unwrap().to_owned()
    }

    /// Reads through the gateway.
    pub async fn read(&self, path: &str) -> (u16, Value) {
        self.http.get(self.at("gateway"), path).await
    }

    /// Reads through the gateway until the answer fits.
    pub async fn read_until(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let (_, answer) = self.read(path).await;
            if fits(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{path} never became so; it is {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Switches a fault of one service.
    pub async fn fault(&self, role: &str, fault: Value) {
        let admin = &self.services[role].admin;
        let (status, _) = self.http.send(Method::POST, admin, "/fault", None, &fault).await.unwrap();
        assert_eq!(status, 200);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.services.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

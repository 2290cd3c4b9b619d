//! Three NATS servers that hold each entry three times, in a directory of their own. In production, they are there already.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eventfold_es::replication::{CommitLog as _, LogError, NatsLog};

const MISSING: &str = "`nats-server` is missing: run `tests/servers/nats.sh`, or set EVENTFOLD_NATS_SERVER to its path";
const SERVERS: usize = 3;
/// The time that the servers have to find each other.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct NatsServers {
    processes: Vec<Child>,
    ports: Vec<u16>,
}

impl NatsServers {
    /// Starts the servers of a cluster, and waits until they hold a log.
    pub fn start(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let binary = binary().ok_or(MISSING)?;
        let ports = free_ports(2 * SERVERS)?;
        let (clients, ports) = ports.split_at(SERVERS);
        let mut servers = Self {
            processes: Vec::new(),
            ports: clients.to_vec(),
        };
        let routes: Vec<_> = ports
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        for (number, (client, route)) in clients.iter().zip(ports).enumerate() {
            let own = directory.join(format!("nats-{number}"));
            fs::create_dir_all(&own)?;
            let data = own.join("data");
            // Without `sync_interval: always`, a power failure loses entries.
            let config = format!(
                "server_name: nats-{number}\n\
                 listen: \"127.0.0.1:{client}\"\n\
                 jetstream {{ store_dir: {data:?}, sync_interval: always }}\n\
                 cluster {{ name: cluster, listen: \"127.0.0.1:{route}\", routes: {routes:?} }}\n"
            );
            let file = own.join("config");
            fs::write(&file, config)?;
            let log = fs::File::create(own.join("log"))?;
            let mut command = Command::new(&binary);
            command.arg("--config").arg(file).stdin(Stdio::null());
            let process = command.stdout(Stdio::null()).stderr(log).spawn()?;
            servers.processes.push(process);
        }
        servers.wait()?;
        Ok(servers)
    }

    pub fn url(&self) -> String {
        let url = |port: &u16| format!("nats://127.0.0.1:{port}");
        self.ports.iter().map(url).collect::<Vec<_>>().join(",")
    }

    /// Three servers can hold a log when they know each other.
    fn wait(&mut self) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        loop {
            match NatsLog::connect(self.url(), "ready").open() {
                Ok(()) => return Ok(()),
                Err(LogError::Unavailable(_)) if begun.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
            for process in &mut self.processes {
                if let Some(ended) = process.try_wait()? {
                    return Err(format!("a NATS server ended: {ended}").into());
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for NatsServers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Its files go, too.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The server: as the environment says, as `tests/servers/nats.sh` has fetched it, or in PATH.
pub fn binary() -> Option<PathBuf> {
    if let Some(named) = env::var_os("EVENTFOLD_NATS_SERVER") {
        return Some(named.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let fetched = fs::read_dir(target.join("servers")).into_iter().flatten();
    let fetched = fetched.flatten().map(|file| file.path());
    let is_server = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("nats-server-")
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let mut installed = env::split_paths(&path).map(|directory| directory.join("nats-server"));
    fetched
        .filter(is_server)
        .max()
        .or_else(|| installed.find(|file| file.is_file()))
}

/// Ports that differ from each other.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Result<Vec<_>, _> = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect();
    let ports = listeners?.into_iter();
    ports
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

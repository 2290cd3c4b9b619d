//! NATS servers in a scratch directory, on loopback ports. They end with the test, however that ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eventfold_es::replication::{CommitLog as _, LogError, NatsLog};
use eventfold_es_tests::signals;
use serde_json::{Value, json};
use tempfile::TempDir;

const MISSING: &str = "LEFT OUT: these tests start NATS servers, and there is no binary: run `tests/servers/nats.sh`, or set \
                       EVENTFOLD_NATS_SERVER to the path of `nats-server`";
/// The time that servers have to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a server until its standard input ends, which it does when the test ends.
const KEEPER: &str = r#"
"$1" -c "$2" >>"$3" 2>&1 &
server=$!
# Ctrl-C reaches the keeper, too.
trap "" INT TERM HUP
echo $server
read -r word
kill -KILL $server 2>/dev/null
wait $server
# Without a word, the test was killed.
[ "$word" = end ] || rm -rf "$(dirname "$2")"
rmdir "$(dirname "$(dirname "$2")")"
"#;

/// The servers of a cluster, or one server alone.
pub struct Servers {
    scratch: TempDir,
    servers: Vec<Server>,
}

struct Server {
    port: u16,
    config: PathBuf,
    keeper: Option<Keeper>,
}

/// The process that ends a server.
struct Keeper {
    process: Child,
    server: u32,
}

/// Settings that differ from those of a good server.
#[derive(Default, Clone)]
pub struct Settings {
    pub no_jetstream: bool,
    /// Entries are synced each two minutes.
    pub no_sync: bool,
    /// Lines at the end.
    pub more: &'static str,
}

/// The accounts of all servers: the system account lets the stores ask whether servers sync.
const ACCOUNTS: &str = r#"
accounts {
  SYS {
    users [{ user: system, password: system }]
    exports [{ service: "$SYS.REQ.SERVER.PING.JSZ", response: stream }]
  }
  STORES {
    jetstream: enabled
    users [
      { user: store, password: hunter2 }
      # As the page about permissions says.
      { user: exact, password: hunter2, permissions {
        publish [
          "$JS.API.INFO", "$JS.API.STREAM.INFO.shop", "$JS.API.STREAM.CREATE.shop", "$JS.API.STREAM.MSG.GET.shop",
          "$JS.API.CONSUMER.CREATE.shop.>", "$JS.API.CONSUMER.MSG.NEXT.shop.>", "eventfold.shop.>"
        ]
        subscribe ["eventfold.shop.node.*", "eventfold.shop.ask.*", "_INBOX.>"]
      } }
      { user: no_api, password: hunter2, permissions { publish ["eventfold.>"], subscribe [">"] } }
      { user: no_append, password: hunter2, permissions { publish ["$JS.API.>"], subscribe [">"] } }
      { user: no_read, password: hunter2, permissions {
        publish ["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "eventfold.>"], subscribe [">"]
      } }
      { user: no_create, password: hunter2, permissions { publish { deny ["$JS.API.STREAM.CREATE.>"] } } }
      { user: no_consumer, password: hunter2, permissions { publish { deny ["$JS.API.CONSUMER.>"] } } }
      { user: no_tell, password: hunter2, permissions { publish { deny ["eventfold.*.node.*"] } } }
      { user: deaf, password: hunter2, permissions { subscribe ["_INBOX.>"] } }
      { user: unasked, password: hunter2, permissions { subscribe ["eventfold.shop.node.*", "_INBOX.>"] } }
    ]
    imports [{ service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" } }]
  }
  # An account that cannot ask.
  BLIND {
    jetstream: enabled
    users [{ user: blind, password: hunter2 }]
  }
  POOR { users [{ user: poor, password: hunter2 }] }
}
system_account: SYS
no_auth_user: store
"#;

/// The binary, or `None` and a word about it.
pub fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("EVENTFOLD_NATS_SERVER").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("../target"), PathBuf::from);
    let fetched = fs::read_dir(target.join("servers")).into_iter().flatten();
    let fetched = fetched.flatten().map(|file| file.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("nats-server-")
    });
    let found = named.or_else(|| fetched.max());
    if found.is_none() {
        // Not `eprintln!`, whose text is shown for tests that fail.
        let _ = writeln!(std::io::stderr(), "{MISSING}");
    }
    found
}

impl Servers {
    /// So many servers that run, unless there is no binary.
    pub fn start(count: usize, settings: &Settings) -> Option<Self> {
        Self::start_with(count, |_| settings.clone())
    }

    /// So many servers, each with its own settings.
    pub fn start_with(count: usize, settings: impl Fn(usize) -> Settings) -> Option<Self> {
        Self::start_all(
            count,
            settings,
            None::<fn(usize, usize, u16) -> u16>,
            |_| {},
        )
    }

    /// So many servers. The argument gives the port by which one of them reaches another, whose own port it gets.
    pub fn start_through(
        count: usize,
        settings: impl Fn(usize) -> Settings,
        way: impl FnMut(usize, usize, u16) -> u16,
    ) -> Option<Self> {
        Self::start_all(count, settings, Some(way), |_| {})
    }

    /// So many servers. The argument prepares the directories for their data.
    pub fn start_on(count: usize, settings: &Settings, disk: impl FnMut(&Path)) -> Option<Self> {
        let way = None::<fn(usize, usize, u16) -> u16>;
        Self::start_all(count, |_| settings.clone(), way, disk)
    }

    fn start_all(
        count: usize,
        settings: impl Fn(usize) -> Settings,
        mut way: Option<impl FnMut(usize, usize, u16) -> u16>,
        mut disk: impl FnMut(&Path),
    ) -> Option<Self> {
        let binary = binary()?;
        let scratch = tempfile::Builder::new()
            .prefix("eventfold-es-nats-")
            .tempdir()
            .unwrap();
        let ports: Vec<_> = (0..count * 2).map(|_| free_port()).collect();
        let (clients, routes) = ports.split_at(count);
        let mut servers = Self {
            scratch,
            servers: Vec::new(),
        };
        for (index, (port, route)) in clients.iter().zip(routes).enumerate() {
            let settings = settings(index);
            let directory = servers.scratch.path().join(format!("n{index}"));
            fs::create_dir(&directory).unwrap();
            fs::create_dir(directory.join("data")).unwrap();
            disk(&directory.join("data"));
            let mut config = format!("server_name: n{index}\nlisten: \"127.0.0.1:{port}\"\n");
            if !settings.no_jetstream {
                let sync = if settings.no_sync { "2m" } else { "always" };
                config += &format!(
                    "jetstream {{ store_dir: {:?}, sync_interval: {sync}, max_file_store: 20GB, max_memory_store: 1GB }}\n",
                    directory.join("data")
                );
                config += ACCOUNTS;
            }
            if count > 1 {
                let others = (0..count).filter(|other| *other != index);
                let to_others = others.map(|other| {
                    let own = routes[other];
                    let port = way.as_mut().map_or(own, |way| way(index, other, own));
                    format!("nats://127.0.0.1:{port}")
                });
                let to_others: Vec<_> = to_others.collect();
                // No other way is told to servers and clients.
                let advertised = match way {
                    Some(_) => "no_advertise: true, advertise: \"127.0.0.1:1\",",
                    None => "",
                };
                config += &format!(
                    "cluster {{ name: c, listen: \"127.0.0.1:{route}\", {advertised} routes: {to_others:?} }}\n"
                );
            }
            config += settings.more;
            let path = directory.join("config");
            fs::write(&path, config).unwrap();
            servers.servers.push(Server {
                port: *port,
                config: path,
                keeper: None,
            });
        }
        for index in 0..count {
            servers.launch(index, &binary);
        }
        for index in 0..count {
            servers.wait_for(index);
        }
        Some(servers)
    }

    /// A server alone.
    pub fn one() -> Option<Self> {
        Self::start(1, &Settings::default())
    }

    /// A cluster that holds logs with three replicas.
    pub fn three() -> Option<Self> {
        let servers = Self::start(3, &Settings::default())?;
        servers.wait_until_whole();
        Some(servers)
    }

    /// The addresses of all, for a user.
    pub fn addresses(&self, user: &str) -> String {
        let addresses = (0..self.servers.len()).map(|index| self.address(index, user));
        addresses.collect::<Vec<_>>().join(",")
    }

    pub fn address(&self, index: usize, user: &str) -> String {
        format!(
            "nats://{user}:hunter2@127.0.0.1:{}",
            self.servers[index].port
        )
    }

    /// A handle on a log, which is not open.
    pub fn log(&self, name: &str) -> NatsLog {
        let log = NatsLog::connect(self.addresses("store"), name);
        if self.servers.len() > 1 {
            log
        } else {
            log.replicas(1)
        }
    }

    /// A handle on a log that is open.
    pub fn open(&self, name: &str) -> NatsLog {
        let begun = Instant::now();
        loop {
            let log = self.log(name);
            match log.open() {
                Ok(()) => return log,
                Err(LogError::Unavailable(_)) if begun.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}\n{}", self.logs()),
            }
        }
    }

    /// Waits until a log with three replicas can be created: all servers know each other.
    pub fn wait_until_whole(&self) {
        let begun = Instant::now();
        loop {
            let log =
                NatsLog::connect(self.addresses("store"), "ready").replicas(self.servers.len());
            match log.open() {
                Ok(()) => return,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}\n{}", self.logs()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills a server with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        let keeper = self.servers[index].keeper.take();
        let keeper = keeper.expect("the server runs");
        signals::kill([keeper.server]);
        keeper.end();
    }

    /// Lets a server end by itself. It notes the state of its streams, and believes the note when it starts again.
    pub fn end(&mut self, index: usize) {
        signals::end([self.pid(index)]);
        let keeper = self.servers[index].keeper.take();
        keeper.expect("the server runs").end();
    }

    /// Starts a server that has ended.
    pub fn resume(&mut self, index: usize) {
        self.launch(index, &binary().unwrap());
        self.wait_for(index);
    }

    /// Stops a server without its knowledge.
    pub fn pause(&self, index: usize) {
        signals::stop([self.pid(index)]);
    }

    /// The directory with the files of a server.
    pub fn data(&self, index: usize) -> PathBuf {
        self.servers[index].config.with_file_name("data")
    }

    /// The files of a server with the entries of a log.
    pub fn blocks(&self, index: usize, log: &str) -> Vec<PathBuf> {
        let messages = self
            .data(index)
            .join(format!("jetstream/STORES/streams/{log}/msgs"));
        let files = fs::read_dir(messages).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "blk"));
        paths
    }

    /// Flips a bit in the middle of a text in the files of a server that does not run.
    pub fn flip_in_text(&self, index: usize, log: &str, text: &str) {
        let is_flipped = |file: PathBuf| {
            let mut bytes = fs::read(&file).unwrap();
            let mut places = bytes.windows(text.len());
            let Some(place) = places.position(|found| found == text.as_bytes()) else {
                return false;
            };
            bytes[place + text.len() / 2] ^= 1;
            fs::write(&file, bytes).unwrap();
            true
        };
        let mut files = self.blocks(index, log).into_iter();
        assert!(files.any(is_flipped), "no file has the text: {text}");
    }

    pub fn go_on(&self, index: usize) {
        signals::go_on([self.pid(index)]);
    }

    /// The index of the server that leads the stream of a log.
    pub fn leader(&self, name: &str) -> usize {
        let begun = Instant::now();
        loop {
            let endpoint = format!("STREAM.INFO.{name}");
            let info = crate::admin::try_api(&self.addresses("store"), &endpoint, &Value::Null);
            let leader = info.and_then(|info| {
                let name = info["cluster"]["leader"].as_str()?;
                name.strip_prefix('n')?.parse().ok()
            });
            match leader {
                Some(leader) => return leader,
                None => assert!(begun.elapsed() < PATIENCE, "no leader\n{}", self.logs()),
            }
        }
    }

    /// Lets a server lead the stream of a log.
    pub fn lead(&self, name: &str, index: usize) {
        let begun = Instant::now();
        let endpoint = format!("STREAM.LEADER.STEPDOWN.{name}");
        let wish = json!({ "placement": { "preferred": format!("n{index}") } });
        while self.leader(name) != index {
            // It is refused while the server is behind.
            crate::admin::try_api(&self.addresses("store"), &endpoint, &wish);
            assert!(
                begun.elapsed() < PATIENCE,
                "n{index} does not lead\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// The port of a server for clients.
    pub fn port(&self, index: usize) -> u16 {
        self.servers[index].port
    }

    fn pid(&self, index: usize) -> u32 {
        self.servers[index]
            .keeper
            .as_ref()
            .expect("the server runs")
            .server
    }

    fn launch(&mut self, index: usize, binary: &Path) {
        let server = &mut self.servers[index];
        let mut process = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(binary)
            .arg(&server.config)
            .arg(server.config.with_file_name("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The shell tells of the end of the server.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut pid)
            .unwrap();
        let pid = pid.trim().parse().unwrap();
        server.keeper = Some(Keeper {
            process,
            server: pid,
        });
    }

    /// Waits until a server greets.
    fn wait_for(&self, index: usize) {
        let begun = Instant::now();
        loop {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.servers[index].port))
            {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut greeting = String::new();
                if BufReader::new(stream).read_line(&mut greeting).is_ok()
                    && greeting.starts_with("INFO")
                {
                    return;
                }
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not start: {}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn logs(&self) -> String {
        let log = |server: &Server| fs::read_to_string(server.config.with_file_name("log"));
        self.servers
            .iter()
            .map(|server| log(server).unwrap_or_default())
            .collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        crate::nodes::keep_after_failure(&mut self.scratch);
        for server in &mut self.servers {
            if let Some(keeper) = server.keeper.take() {
                keeper.end();
            }
        }
    }
}

impl Keeper {
    fn end(mut self) {
        let mut input = self.process.stdin.take().unwrap();
        // It may be gone.
        let _ = input.write_all(b"end\n");
        drop(input);
        self.process.wait().unwrap();
    }
}

/// A port below those that the system gives to clients, so that it is still free after a restart.
fn free_port() -> u16 {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    let first = 20_000 + (std::process::id() % 500) as u16 * 20;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = (first..32_000).skip(TAKEN.fetch_add(1, Ordering::Relaxed));
    ports.find(is_free).expect("a free port")
}

//! A PostgreSQL server in a scratch directory, on a loopback port. It ends with the test, however that ends.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eventfold_es::postgres::{Client, Error, NoTls};
use eventfold_es::{Postgres, Sink as _, SinkFault};
use eventfold_es_tests::signals;
use eventfold_es_tests::small_disk::SmallDisk;
use tempfile::TempDir;

const MISSING: &str = "these tests start a PostgreSQL server, and none is installed: run `apt-get install postgresql`, or add the \
                       directory of `initdb` and `postgres` to PATH";
/// The time that a server has to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a server until its standard input ends. Without a line before the end, the test has ended, and the directory goes.
const KEEPER: &str = r#"
"$1" -D "$2/data" -k "$2" -c listen_addresses=127.0.0.1 -c port="$3" -c "$4" >>"$2/log" 2>&1 &
server=$!
# Ctrl-C reaches the keeper, too.
trap "" INT TERM HUP
echo $server
word=gone
read -r word
# Before it has set itself up, the server ignores the signal; and in the middle of a recovery it may never end by it.
signal=INT
left=200
while kill -$signal $server 2>/dev/null; do
  sleep 0.05
  left=$((left - 1))
  [ $left -gt 0 ] || signal=QUIT
  [ $left -gt -200 ] || signal=KILL
done
[ "$word" = keep ] || rm -rf "$2"
"#;

/// A server.
pub struct Server {
    /// The disk with its data, if that is a small one.
    disk: Option<SmallDisk>,
    scratch: TempDir,
    port: u16,
    /// Whether it keeps its promises after a crash of the machine. Without that it is faster.
    is_durable: bool,
    keeper: Option<Keeper>,
}

/// The process that ends the server.
struct Keeper {
    process: Child,
    server: u32,
}

/// How a server is killed.
#[derive(Debug, Clone, Copy)]
pub enum Kill {
    /// All its processes, at once.
    All,
    /// The first process. The others see its end.
    Postmaster,
    /// One connection. The server ends the others, and recovers.
    Connection,
}

impl Server {
    /// A new server that runs.
    pub fn start(is_durable: bool) -> Self {
        let mut server = Self::stopped(is_durable);
        server.resume();
        server
    }

    /// A new server that runs, on a small disk. `None` without the permission to mount it.
    pub fn on_small_disk(megabytes: u32) -> Option<Self> {
        let scratch = scratch();
        let data = scratch.path().join("data");
        fs::create_dir(&data).unwrap();
        let disk = SmallDisk::mount(&data, megabytes).unwrap()?;
        give(&data);
        let mut server = Self::set_up(scratch, Some(disk), true);
        server.resume();
        Some(server)
    }

    /// A new server that does not run yet.
    pub fn stopped(is_durable: bool) -> Self {
        Self::set_up(scratch(), None, is_durable)
    }

    fn set_up(scratch: TempDir, disk: Option<SmallDisk>, is_durable: bool) -> Self {
        let made = as_server(&program("initdb"))
            .arg("--pgdata")
            .arg(scratch.path().join("data"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--no-locale",
            ])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Self {
            disk,
            scratch,
            port: free_port(),
            is_durable,
            keeper: None,
        }
    }

    /// The small disk with its data.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("a small disk")
    }

    /// Starts it again if it has ended by itself.
    pub fn resume_if_ended(&mut self) {
        if !is_running(self.postmaster()) {
            self.stop();
            self.resume();
        }
    }

    /// A new server that runs, and encrypts connections with a certificate and its key in PEM.
    pub fn with_certificate(certificate: &str, key: &str) -> Self {
        let mut server = Self::stopped(true);
        let data = server.scratch.path().join("data");
        let files = [
            ("server.crt", certificate.to_owned()),
            ("server.key", key.to_owned()),
            ("postgresql.auto.conf", "ssl = on\n".to_owned()),
        ];
        for (name, content) in files {
            let path = data.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some(Account { user, group }) = Account::find() {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        server.resume();
        server
    }

    /// Starts it again, and waits until it answers.
    pub fn resume(&mut self) {
        let begun = Instant::now();
        loop {
            let mut process = as_server(Path::new("sh"))
                .args(["-c", KEEPER, "keeper"])
                .arg(program("postgres"))
                .arg(self.scratch.path())
                .arg(self.port.to_string())
                .arg(if self.is_durable {
                    "fsync=on"
                } else {
                    "fsync=off"
                })
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut server = String::new();
            BufReader::new(process.stdout.take().unwrap())
                .read_line(&mut server)
                .unwrap();
            let server = server.trim().parse().unwrap();
            self.keeper = Some(Keeper { process, server });
            // After a kill, the memory of the old processes may still be in use, and the server ends.
            while begun.elapsed() < PATIENCE && is_running(server) {
                if self.run("SELECT 1").is_ok() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            self.stop();
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        if let Some(Keeper { mut process, .. }) = self.keeper.take() {
            let mut input = process.stdin.take().unwrap();
            // It may be gone.
            let _ = input.write_all(b"keep\n");
            drop(input);
            process.wait().unwrap();
        }
    }

    /// Kills all its processes with SIGKILL.
    pub fn kill(&mut self) {
        let postmaster = self.postmaster();
        signals::kill(children(postmaster).into_iter().chain([postmaster]));
        self.stop();
    }

    /// Kills it with SIGKILL, and starts it again.
    pub fn kill_and_resume(&mut self, kill: Kill) {
        let postmaster = self.postmaster();
        let others = children(postmaster);
        match kill {
            Kill::All => signals::kill(others.into_iter().chain([postmaster])),
            Kill::Postmaster => signals::kill([postmaster]),
            Kill::Connection => {
                let is_connection = |pid: &u32| {
                    let title = fs::read_to_string(format!("/proc/{pid}/cmdline"));
                    title.is_ok_and(|title| title.contains("127.0.0.1"))
                };
                signals::kill(others.into_iter().find(is_connection));
            }
        }
        if !matches!(kill, Kill::Connection) {
            self.stop();
            self.resume();
        }
    }

    /// Stops all its processes with SIGSTOP. Its connections stay open.
    pub fn suspend(&self) {
        let postmaster = self.postmaster();
        // Behind it, there are no new children.
        signals::stop([postmaster]);
        signals::stop(children(postmaster));
    }

    /// Ends [`suspend`](Self::suspend).
    pub fn wake(&self) {
        let postmaster = self.postmaster();
        signals::go_on(children(postmaster).into_iter().chain([postmaster]));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn postmaster(&self) -> u32 {
        self.keeper.as_ref().expect("the server runs").server
    }

    /// A hot standby of this server that runs. It names itself in `synchronous_standby_names`.
    pub fn standby(&self, name: &str) -> Self {
        let scratch = scratch();
        let connection = format!(
            "host=127.0.0.1 port={} user=postgres application_name={name}",
            self.port
        );
        let copied = as_server(&program("pg_basebackup"))
            .arg("--pgdata")
            .arg(scratch.path().join("data"))
            .args([
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "--dbname",
                &connection,
            ])
            .output()
            .unwrap();
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let mut standby = Self {
            disk: None,
            scratch,
            port: free_port(),
            is_durable: self.is_durable,
            keeper: None,
        };
        standby.resume();
        standby
    }

    /// Copies the files of a server that is stopped, for [`restore`](Self::restore).
    pub fn copy(&self) {
        self.replace("data", "copy");
    }

    /// Replaces the files of a server that is stopped.
    pub fn restore(&self) {
        self.replace("copy", "data");
    }

    fn replace(&self, from: &str, to: &str) {
        assert!(self.keeper.is_none(), "the server runs");
        let (from, to) = (self.scratch.path().join(from), self.scratch.path().join(to));
        let _ = fs::remove_dir_all(&to);
        let copied = Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status()
            .unwrap();
        assert!(copied.success());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// An empty database, by its URL.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE DATABASE {name}")).unwrap();
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement, on a thread of its own: the client blocks.
    pub fn run(&self, statement: &str) -> Result<(), Error> {
        let url = self.url("postgres");
        std::thread::scope(|scope| {
            let run = scope.spawn(|| Client::connect(&url, NoTls)?.batch_execute(statement));
            run.join().unwrap()
        })
    }
}

/// A directory of the server's account.
fn scratch() -> TempDir {
    let scratch = tempfile::Builder::new()
        .prefix("eventfold-es-postgres-")
        .tempdir()
        .unwrap();
    give(scratch.path());
    scratch
}

/// Gives a directory to the server's account.
fn give(directory: &Path) {
    if let Some(Account { user, group }) = Account::find() {
        chown(directory, Some(user), Some(group)).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        crate::nodes::keep_after_failure(&mut self.scratch);
        self.stop();
    }
}

/// The server that the tests share which do not stop it.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(false))
}

/// The server that keeps its promises, which the tests share.
pub fn durable() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(true))
}

/// An empty database of the shared server.
pub fn database() -> (String, Postgres) {
    let url = shared().database();
    (url.clone(), Postgres::url(url))
}

/// Runs SQL beside the async code of a test; again, if the server recovers from a kill.
pub async fn sql<T: Send + 'static>(
    url: &str,
    run: impl Fn(&mut Client) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let url = url.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        loop {
            let done = Client::connect(&url, NoTls).and_then(|mut client| run(&mut client));
            match done {
                Err(error)
                    if Postgres::fault(&error) == SinkFault::Database
                        && begun.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                done => return done,
            }
        }
    });
    done.await.unwrap()
}

/// Runs statements without results.
pub async fn batch(url: &str, statements: impl Into<String>) -> Result<(), Error> {
    let statements = statements.into();
    sql(url, move |client| client.batch_execute(&statements)).await
}

/// Whether a process has not ended.
fn is_running(process: u32) -> bool {
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// A port below those that the system gives to clients, so that it is still free after a restart.
fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 5_000) as u16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let mut ports = (first..32_000).skip(TAKEN.fetch_add(1, Ordering::Relaxed) as usize * 20);
    ports.find(is_free).expect("a free port")
}

/// An account that is not root's, for a server does not run as root.
struct Account {
    user: u32,
    group: u32,
}

impl Account {
    fn find() -> Option<Self> {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return None;
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap();
        let account = |name: &str| {
            let mut fields = accounts
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>());
            let fields = fields.find(|fields| fields[0] == name)?;
            Some(Self {
                user: fields[2].parse().ok()?,
                group: fields[3].parse().ok()?,
            })
        };
        let found = account("postgres").or_else(|| account("nobody"));
        Some(found.expect("an account named `postgres` or `nobody`"))
    }
}

fn as_server(program: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(Account { user, group }) = Account::find() {
        command.uid(user).gid(group);
    }
    command
}

/// A program of the server: in PATH, or at the place where Debian has it.
fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<_> = env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        directories.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let mut files = directories.iter().map(|directory| directory.join(name));
    files.find(|file| file.is_file()).expect(MISSING)
}

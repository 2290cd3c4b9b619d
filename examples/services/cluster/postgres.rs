//! A PostgreSQL server of Debian's package, in a directory of its own. In production, it is there already.

use std::env;
use std::error::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time that the server has to start.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct PostgresServer {
    process: Child,
    port: u16,
}

impl PostgresServer {
    /// Creates a database cluster, starts its server, and waits until that accepts connections.
    pub fn start(directory: &Path) -> Result<Self, Box<dyn Error>> {
        fs::create_dir(directory)?;
        let account = account()?;
        if let Some((user, group)) = account {
            chown(directory, Some(user), Some(group))?;
        }
        let data = directory.join("data");
        let mut initdb = command("initdb", account)?;
        initdb.arg("--pgdata").arg(&data);
        let made = initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8"]);
        let made = made.arg("--no-locale").stdin(Stdio::null()).output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into());
        }
        let port = crate::free_port()?;
        let log = fs::File::create(directory.join("log"))?;
        let mut postgres = command("postgres", account)?;
        postgres.arg("-D").arg(&data).arg("-k").arg(directory);
        postgres.args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]);
        let process = postgres
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut server = Self { process, port };
        server.wait(directory)?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn wait(&mut self, directory: &Path) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        let socket = format!(".s.PGSQL.{}", self.port);
        loop {
            let log = fs::read_to_string(directory.join("log"))?;
            if log.contains("ready to accept connections") && directory.join(&socket).exists() {
                return Ok(());
            }
            if self.process.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(format!("the server does not start: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // A fast shutdown. `Child::kill` would leave its shared memory.
        let stopped = Command::new("kill")
            .args(["-INT", &self.process.id().to_string()])
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// A program of the server: in PATH, or where Debian has it.
fn command(name: &str, account: Option<(u32, u32)>) -> Result<Command, Box<dyn Error>> {
    let mut directories: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        directories.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let mut files = directories.iter().map(|directory| directory.join(name));
    let file = files.find(|file| file.is_file());
    let mut command = Command::new(
        file.ok_or_else(|| format!("`{name}` is missing: install the package `postgresql`"))?,
    );
    command.current_dir("/");
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    Ok(command)
}

/// The server does not run as root. For root, this is the account of Debian's package.
fn account() -> Result<Option<(u32, u32)>, Box<dyn Error>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    for line in fs::read_to_string("/etc/passwd")?.lines() {
        let mut fields = line.split(':');
        if fields.next() == Some("postgres") {
            let mut number = |skipped| -> Result<u32, Box<dyn Error>> {
                Ok(fields
                    .nth(skipped)
                    .ok_or("/etc/passwd is damaged")?
                    .parse()?)
            };
            return Ok(Some((number(1)?, number(0)?)));
        }
    }
    Err("there is no account `postgres`: install the package `postgresql`, or do not run this as root".into())
}

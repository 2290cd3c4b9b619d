//! The disk of a server is full, or its files are older or damaged.

use std::fs;

use eventfold_es::replication::{CommitLog as _, Entry};
use eventfold_es_tests::copy_directory;
use eventfold_es_tests::small_disk::SmallDisk;
use tokio::task::block_in_place;

use super::cluster::{NODES, until};
use super::engine::LOG;
use super::{Scene, rounds};
use crate::failures::wait_until_current;
use crate::servers::{Servers, Settings};

/// In megabytes.
const SMALL: u32 = 64;

/// The other servers go on. When there is room again, the server takes part again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_a_server_is_full() {
    let mut disks = Vec::new();
    let servers = Servers::start_on(3, &Settings::default(), |directory| {
        disks.extend(SmallDisk::mount(directory, SMALL).unwrap());
    });
    let Some(mut servers) = servers.filter(|_| disks.len() == 3) else {
        return;
    };
    servers.wait_until_whole();
    let scene = Scene::start("the disk of a server is full", &servers).await;
    for is_leader in [true, false] {
        scene.clients.until_more(50).await;
        let leader = block_in_place(|| servers.leader(LOG));
        let server = if is_leader { leader } else { (leader + 1) % 3 };
        disks[server].fill().unwrap();
        scene.clients.until_more(200).await;
        disks[server].empty().unwrap();
        // The server has disabled JetStream.
        block_in_place(|| {
            servers.kill(server);
            servers.resume(server);
            wait_until_current(&servers, LOG);
        });
    }
    scene.clients.until_more(50).await;
    scene.finish().await;
    drop(servers);
}

/// The others have all entries, and bring it up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_returns_with_an_older_copy() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    let scene = Scene::start("a server returns with an older copy", &servers).await;
    for is_leader in [true, false] {
        scene.clients.until_more(50).await;
        let leader = block_in_place(|| servers.leader(LOG));
        let server = if is_leader { leader } else { (leader + 1) % 3 };
        let (data, copy) = (
            servers.data(server),
            servers.data(server).with_file_name("copy"),
        );
        block_in_place(|| {
            servers.kill(server);
            copy_directory(&data, &copy).unwrap();
            servers.resume(server);
        });
        scene.clients.until_more(50).await;
        block_in_place(|| {
            // Each entry is on all servers, so that two of them have it without this one.
            wait_until_current(&servers, LOG);
            servers.kill(server);
            fs::remove_dir_all(&data).unwrap();
            fs::rename(&copy, &data).unwrap();
            servers.resume(server);
            wait_until_current(&servers, LOG);
        });
        // It has the whole log: it serves it without one of the others.
        let other = (server + 1) % 3;
        block_in_place(|| servers.kill(other));
        scene.clients.until_more(50).await;
        block_in_place(|| servers.resume(other));
    }
    scene.finish().await;
}

/// The server has ended by itself, so it believes its note, and finds the damage when it is asked for the entry. A node that reads the entry
/// from another server goes on. A node that does not find it says so, until an operator empties the directory of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_of_an_entry_is_flipped() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    let scene = Scene::start("a bit of an entry is flipped", &servers).await;
    for round in 0..rounds(2) {
        scene.clients.until_more(200).await;
        let server = block_in_place(|| {
            let leader = servers.leader(LOG);
            let server = match round % 2 {
                0 => leader,
                _ => (leader + 1) % 3,
            };
            let entry = short_entry(&servers);
            servers.end(server);
            servers.flip_in_text(server, LOG, &entry.text);
            servers.resume(server);
            wait_until_current(&servers, LOG);
            servers.lead(LOG, server);
            server
        });
        // The running nodes have the entry.
        scene.clients.until_more(50).await;
        // A node that reads the whole log.
        let cluster = &scene.cluster;
        let node = (cluster.leader_of(&[0, 1, 2]).await + 1) % NODES;
        cluster.kill(node);
        fs::remove_dir_all(cluster.directory(node)).unwrap();
        let is_found = until(
            "a node that opens, or misses the entry",
            async || match cluster.open(node).await {
                Ok(()) => Some(true),
                Err(refused) if refused.contains("has no entry") => Some(false),
                Err(refused) => {
                    assert!(refused.contains("is not available"), "{refused}");
                    None
                }
            },
        )
        .await;
        let found = if is_found { "found" } else { "missing" };
        println!("  the server {server}: the entry is {found}");
        block_in_place(|| {
            servers.kill(server);
            fs::remove_dir_all(servers.data(server)).unwrap();
            servers.resume(server);
            wait_until_current(&servers, LOG);
            servers.lead(LOG, server);
        });
        if !cluster.runs(node) {
            cluster.must_open(node).await;
        }
        scene.clients.until_more(50).await;
    }
    scene.finish().await;
}

/// An entry from the middle of the log, whose body is its text.
fn short_entry(servers: &Servers) -> Entry {
    let mut entries = servers.open(LOG).read(1, 1 << 20).unwrap();
    // A longer text is compressed.
    entries.retain(|entry| entry.text.len() < 4 << 10);
    entries.swap_remove(entries.len() / 2)
}

/// JetStream may drop the entries around the bit, and make this server the leader all the same. Then the nodes say that entries are lost,
/// and take no commands, until an operator empties the directory of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_of_a_length_is_flipped() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    let mut scene = Scene::start("a bit of a length is flipped", &servers).await;
    for round in 0..rounds(2) {
        scene.clients.until_more(200).await;
        let leader = block_in_place(|| servers.leader(LOG));
        let server = match round % 2 {
            0 => leader,
            _ => (leader + 1) % 3,
        };
        let other = (server + 1) % 3;
        block_in_place(|| {
            servers.kill(server);
            flip_in_length(&servers, server, scene.random.next_u64());
            servers.resume(server);
            wait_until_current(&servers, LOG);
            // Now it has a part in each majority.
            servers.kill(other);
        });
        // A node that reads the whole log.
        let cluster = &scene.cluster;
        let node = (cluster.leader_of(&[0, 1, 2]).await + 1) % NODES;
        cluster.kill(node);
        fs::remove_dir_all(cluster.directory(node)).unwrap();
        let wanted = scene.clients.count() + 50;
        let goes_on = until(
            "more commands, or a node that says that entries are lost",
            async || {
                if !cluster.runs(node)
                    && let Err(refused) = cluster.open(node).await
                {
                    return refused.contains("has lost entries").then_some(false);
                }
                let roles = format!("{:?}", cluster.roles().await);
                let is_lost = roles.contains("has lost entries");
                (is_lost || scene.clients.count() >= wanted).then_some(!is_lost)
            },
        )
        .await;
        println!(
            "  the server {server}: {}",
            if goes_on {
                "goes on"
            } else {
                "entries are lost"
            }
        );
        block_in_place(|| {
            if !goes_on {
                servers.kill(server);
                fs::remove_dir_all(servers.data(server)).unwrap();
                servers.resume(server);
            }
            servers.resume(other);
        });
        scene.clients.until_more(50).await;
        if !cluster.runs(node) {
            cluster.must_open(node).await;
        }
        block_in_place(|| wait_until_current(&servers, LOG));
    }
    scene.finish().await;
}

/// Flips a bit in the length of an entry of a server that does not run. Behind it, JetStream reads nothing more.
fn flip_in_length(servers: &Servers, server: usize, random: u64) {
    let file = servers.blocks(server, LOG).swap_remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let (mut entry, wanted) = (0, random as usize % bytes.len());
    while entry < wanted {
        let length = bytes[entry..entry + 4].try_into().unwrap();
        // The first bit tells whether it has headers.
        entry += (u32::from_le_bytes(length) << 1 >> 1) as usize;
    }
    let place = (entry + 1).min(bytes.len() - 1);
    // The server reads the whole file when it starts, as after a loss of power.
    let _ = fs::remove_file(file.with_file_name("index.db"));
    bytes[place] ^= 1 << (random >> 61);
    fs::write(&file, bytes).unwrap();
}

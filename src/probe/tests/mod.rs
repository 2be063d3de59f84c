//! Tests over process trees of shells.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::cpu_clock::{own_cpu, process_cpu, used};
use super::memory::{page_faults, rss_peak_bytes};

/// Starts a shell that runs `script` and waits for its line `ready`.
fn shell(script: &str) -> Child {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut shell = shell.expect("there is a shell");
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().expect("piped")).read_line(&mut line).expect("text");
    assert_eq!(line, "ready\n");
    shell
}

fn end(mut shell: Child) {
    drop(shell.stdin.take());
    shell.wait().expect("ours");
}

const BUSY_LOOP: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";

#[test]
fn own_time_goes_forward_and_agrees_with_the_time_by_pid() {
    let before = own_cpu().unwrap();
    let mut readings = 0_u64;
    while used(before, own_cpu().unwrap()).total_ns < 2_000_000 {
        readings += 1;
    }
    let by_pid = process_cpu(std::process::id()).unwrap();
    assert!(by_pid.total_ns >= before.total_ns + 2_000_000, "after {readings} readings");
}

#[test]
fn a_waited_for_child_and_a_living_grandchild_count() {
    // The idle shell uses only the time to start.
    let idle = shell("echo ready; read line");
    let alone = process_cpu(idle.id()).expect("it lives");
    for script in [
        format!("({BUSY_LOOP}); echo ready; read line"),
        format!("( ({BUSY_LOOP}; echo ready; cat >/dev/null) ; :) ; :"),
    ] {
        let busy = shell(&script);
        let cpu = process_cpu(busy.id()).expect("it lives");
        assert!(cpu.total_ns > alone.total_ns + 20_000_000, "{script}: {cpu:?}, {alone:?}");
        end(busy);
    }
    end(idle);
}

#[test]
fn memory_of_a_child_is_added() {
    let idle = shell("echo ready; read line");
    // The child holds 8 MB when it prints the line. Two shells differ by much less.
    let parent =
        shell("(text=$(head -c 8000000 /dev/zero | tr '\\0' a); echo ready; read line); :");
    let (one, two) = (rss_peak_bytes(idle.id()), rss_peak_bytes(parent.id()));
    assert!(two.expect("it lives") > one.expect("it lives") + 6_000_000);
    end(parent);
    end(idle);
}

#[test]
fn a_process_that_does_not_exist_is_an_error() {
    assert!(process_cpu(u32::MAX).is_err());
    assert!(process_cpu(i32::MAX as u32).is_err());
}

#[test]
fn the_first_access_to_a_page_is_a_fault() {
    let before = page_faults(std::process::id()).unwrap();
    let pages = std::hint::black_box(vec![1_u8; 64 << 20]);
    let after = page_faults(std::process::id()).unwrap();
    // With huge pages there are 32 faults.
    assert!(after - before >= 32, "{} faults for {} bytes", after - before, pages.len());
}

#[test]
fn peak_memory_is_more_than_a_page() {
    assert!(rss_peak_bytes(std::process::id()).unwrap() > 4096);
}

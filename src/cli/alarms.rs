//! Lines on stderr about the alarms of a server, at most one for each kind in ten seconds.

use std::time::{Duration, Instant};

use super::output::tell;
use crate::wire::{Alarm, WorkerCounts};

/// Shortest time between two lines about the same kind of alarm.
pub(super) const LINE_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Alarms {
    workers: Vec<&'static WorkerCounts>,
    lines: [Line; Alarm::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Alarms that the lines so far are about.
    told: u64,
    last: Option<Instant>,
    /// True if there are more, whose line is not due yet.
    waits: bool,
}

impl Alarms {
    pub(super) fn new(workers: Vec<&'static WorkerCounts>) -> Alarms {
        Alarms { workers, lines: Default::default() }
    }

    /// Writes the lines that are due.
    pub(super) fn tell(&mut self, now: Instant) {
        self.due(now).into_iter().for_each(tell);
    }

    /// Writes a line about each alarm that has none, at the end of the server.
    pub(super) fn tell_rest(&mut self) {
        self.lines.iter_mut().for_each(|line| line.last = None);
        self.tell(Instant::now());
    }

    /// Returns the time at which a line that waits is due.
    pub(super) fn next_line(&self) -> Option<Instant> {
        let waiting = self.lines.iter().filter(|line| line.waits);
        waiting.filter_map(|line| Some(line.last? + LINE_INTERVAL)).min()
    }

    fn due(&mut self, now: Instant) -> Vec<String> {
        self.workers.iter().for_each(|counts| counts.answer_alarm());
        let mut due = Vec::new();
        for (alarm, line) in Alarm::ALL.into_iter().zip(&mut self.lines) {
            let counts = self.workers.iter().flat_map(|counts| counts.alarms());
            let count = counts.filter(|(kind, _)| *kind == alarm).map(|(_, count)| count);
            let new = count.sum::<u64>() - line.told;
            line.waits = new > 0 && line.last.is_some_and(|last| now < last + LINE_INTERVAL);
            if new > 0 && !line.waits {
                line.told += new;
                line.last = Some(now);
                due.push(text(alarm, new));
            }
        }
        due
    }
}

fn text(alarm: Alarm, count: u64) -> String {
    let times = if count == 1 { String::new() } else { format!(" ({count} times)") };
    match alarm {
        Alarm::AcceptFailed => format!(
            "alarm: a connection could not be accepted{times}, for want of descriptors or memory; \
             raise the limit of descriptors (ulimit -n), or lower --max-connections"
        ),
        Alarm::ConnectionsFull => format!(
            "alarm: all connections of a worker were in use{times}, so further ones waited; raise \
             --max-connections, or lower --idle-timeout"
        ),
        Alarm::Panicked => format!(
            "alarm: a request failed by a panic of this server{times}; its place is above, and \
             the server goes on"
        ),
        Alarm::DrainAborted => format!(
            "alarm: the shutdown cut requests off{times}, which were not answered within \
             --drain-timeout"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_alarms_makes_one_line_in_ten_seconds() {
        let counts = WorkerCounts::of_worker();
        let (mut alarms, start) = (Alarms::new(vec![counts]), Instant::now());
        assert_eq!((alarms.due(start).len(), alarms.next_line()), (0, None));
        counts.alarm(Alarm::AcceptFailed);
        assert!(alarms.due(start)[0].contains("accepted, for want"));
        (0..1000).for_each(|_| counts.alarm(Alarm::AcceptFailed));
        assert!(alarms.due(start + Duration::from_secs(9)).is_empty());
        assert_eq!(alarms.next_line(), Some(start + LINE_INTERVAL));
        counts.alarm(Alarm::Panicked);
        assert!(alarms.due(start + Duration::from_secs(9))[0].contains("panic"));
        let lines = alarms.due(start + LINE_INTERVAL);
        assert!(lines.len() == 1 && lines[0].contains("1000 times"), "{lines:?}");
        assert_eq!(alarms.next_line(), None);
    }
}

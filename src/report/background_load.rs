//! Sentences about the programs and guests that used the machine just before a run.

use crate::probe::background_load::{BUSY_MAX, BackgroundLoad};

/// Time of a sentence: present while the run starts, past in its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tense {
    Present,
    Past,
}

/// Names the program that keeps the machine busy; `None` for a machine that is quiet enough.
pub fn programs(load: &BackgroundLoad, tense: Tense) -> Option<String> {
    let (one_uses, many_use) = match tense {
        Tense::Present => ("uses", "use"),
        Tense::Past => ("used", "used"),
    };
    let named = load.busiest.as_ref().filter(|process| load.share(process.cpu_ns) > BUSY_MAX);
    let others = load.all_cores_ns.saturating_sub(named.map_or(0, |process| process.cpu_ns));
    let percent = |cpu_ns: u64| format!("{:.0} %", load.share(cpu_ns) * 100.0);
    let sentence = match named {
        None => format!(
            "other programs {many_use} {} of a core, none that still runs more than {:.0} %",
            percent(others),
            BUSY_MAX * 100.0
        ),
        Some(process) => {
            let (name, pid) = (&process.name, process.pid);
            let others = match load.share(others) > BUSY_MAX {
                true => format!(", and other programs {many_use} {}", percent(others)),
                false => String::new(),
            };
            format!("{name} (pid {pid}) {one_uses} {} of a core{others}", percent(process.cpu_ns))
        }
    };
    load.is_busy().then_some(sentence)
}

/// Tells how much time other guests take from the machine; `None` if it is little.
pub fn guests(load: &BackgroundLoad, tense: Tense) -> Option<String> {
    let gives = match tense {
        Tense::Present => "gives",
        Tense::Past => "gave",
    };
    let percent = load.stolen_share()? * 100.0;
    Some(format!("the hypervisor {gives} {percent:.0} % of a core's time to other guests"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::background_load::BusyProcess;

    const CORE_NS: u64 = 1_000_000_000;

    fn load(busiest: Option<u64>, all_percent: u64) -> BackgroundLoad {
        let percent = CORE_NS / 100;
        let rustc = |share| BusyProcess { name: "rustc".into(), pid: 123, cpu_ns: share * percent };
        BackgroundLoad {
            watched_ns: CORE_NS,
            server_core_ns: all_percent * percent,
            all_cores_ns: all_percent * percent,
            busiest: busiest.map(rustc),
            ..BackgroundLoad::default()
        }
    }

    #[test]
    fn the_busiest_program_is_named_with_its_share() {
        let now = |load| programs(&load, Tense::Present);
        assert_eq!(now(load(Some(97), 98)).unwrap(), "rustc (pid 123) uses 97 % of a core");
        assert_eq!(
            now(load(Some(97), 140)).unwrap(),
            "rustc (pid 123) uses 97 % of a core, and other programs use 43 %"
        );
        assert_eq!(
            now(load(Some(2), 30)).unwrap(),
            "other programs use 30 % of a core, none that still runs more than 5 %"
        );
        let past = programs(&load(Some(97), 98), Tense::Past).unwrap();
        assert_eq!(past, "rustc (pid 123) used 97 % of a core");
    }

    #[test]
    fn a_quiet_machine_gives_no_sentence() {
        assert_eq!(programs(&load(Some(2), 4), Tense::Present), None);
        assert_eq!(guests(&load(None, 4), Tense::Present), None);
    }

    #[test]
    fn time_that_other_guests_took_is_told() {
        let load = BackgroundLoad { spun_ns: 100, stolen_ns: 12, ..load(None, 0) };
        let sentence = "the hypervisor gives 12 % of a core's time to other guests";
        assert_eq!(guests(&load, Tense::Present).unwrap(), sentence);
    }
}

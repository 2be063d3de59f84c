//! Random numbers and faults of one run, all drawn from its seed.
//!
//! Each fault is off in half of the seeds and has a rate of its own in the others, so that some
//! seeds have one kind in abundance and none of another (swarm testing).

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng as _;

macro_rules! faults {
    ($($Fault:ident $name:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(in super::super) enum Fault {
            $($Fault,)+
        }

        impl Fault {
            pub(in super::super) const ALL: [Fault; [$($name),+].len()] = [$(Fault::$Fault),+];

            pub(in super::super) fn name(self) -> &'static str {
                [$($name),+][self as usize]
            }
        }
    };
}

faults! {
    EnterAgain "enter: EAGAIN",
    EnterBusy "enter: EBUSY",
    EnterInterrupted "enter: EINTR",
    SlowEnter "enter: peers act meanwhile",
    ShortSubmit "enter: takes a part of the entries",
    BoundedWork "enter: does a part of the work",
    LateStart "operation starts late",
    Overflow "completion queue overflows",
    NoDescriptor "accept: EMFILE",
    AcceptAborted "accept: ECONNABORTED",
    MultishotEnds "multishot ends",
    NoBuffer "receive: ENOBUFS",
    ShortReceive "receive: short",
    ReceiveInterrupted "receive: EINTR",
    ShortSend "send: short",
    SendInterrupted "send: EINTR",
    CancelMissed "cancel: ENOENT",
    CancelTooLate "cancel: EALREADY",
    CancelFirst "cancel: completes before its target",
    Vanish "peer: resets",
    HalfClose "peer: half-closes",
    Silence "peer: falls silent",
    StopReading "peer: stops reading",
    SlowPeer "peer: reads and sends slowly",
    Stay "peer: stays idle",
}

pub(in super::super) struct Chance {
    random: Pcg32,
    /// One in so many; 0 for never.
    rates: [u32; Fault::ALL.len()],
    pub(in super::super) counts: [u64; Fault::ALL.len()],
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        let mut chance = Chance {
            random: Pcg32::new(seed, 0x5EED),
            rates: [0; Fault::ALL.len()],
            counts: [0; Fault::ALL.len()],
        };
        for at in 0..Fault::ALL.len() {
            let rate = [3, 8, 25, 80][chance.below(4)];
            chance.rates[at] = if chance.is_one_in(2) { rate } else { 0 };
        }
        chance
    }

    pub(super) fn is_one_in(&mut self, times: u32) -> bool {
        self.random.next_u32().is_multiple_of(times)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.random.next_u32() as usize % end
    }

    /// Draws from 1 to `most`.
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        1 + self.below(most)
    }

    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let rate = self.rates[fault as usize];
        let strikes = rate > 0 && self.is_one_in(rate);
        if strikes {
            self.note(fault);
        }
        strikes
    }

    pub(super) fn note(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }
}

//! The end of each situation: everything that is on its way must arrive, and everything must be given back.

use std::time::Duration;

use ferrevent_core::Dirs;
use ferrevent_sim::World;

use crate::model::Connecting;
use crate::remote::Shared;
use crate::shell::Shell;
use crate::user::Tester;

/// What is to have happened once everything has settled.
pub(crate) struct Settled {
    stream: usize,
    eofs: u32,
    write_calls: u32,
    kicked: bool,
}

impl Tester {
    /// Lets everything flow: both directions are enabled, and everybody takes what there is.
    pub(crate) fn settle(&mut self, shell: &mut Shell) -> Vec<Settled> {
        shell.tick();
        self.calm = true;
        let mut settled = Vec::new();
        let now = shell.core.now();
        for id in 0..self.streams.len() {
            let key = shell.key(id);
            let model = &mut self.streams[id].model;
            if model.freed {
                continue;
            }
            if model.looking_up {
                model.set_looking_up(false, now);
                shell.core.set_looking_up(key, false);
            }
            model.set_listening([true; 3]);
            shell.set_listening(id, [true; 3]);
            model.set_timeouts(None, None, now);
            shell.core.set_timeouts(key, None, None);
            let mut mark = model.marks[0];
            mark.low = 0;
            model.set_watermark(Dirs::READ, mark, now);
            shell.core.set_watermark(key, Dirs::READ, mark);
            self.take(shell, id, usize::MAX);
            self.enable(shell, id, Dirs::all());
            let stream = &self.streams[id];
            let Some(remote) = &stream.remote else {
                continue;
            };
            let mut remote = remote.lock();
            remote.send(3000);
            remote.shut_down();
            if !remote.broken {
                settled.push(Settled {
                    stream: id,
                    eofs: stream.model.eofs,
                    write_calls: stream.model.write_calls,
                    kicked: stream.model.output == 0 && stream.model.connecting == Connecting::No,
                });
            }
        }
        for remote in &self.remotes {
            drink(&shell.world, remote.clone(), DRY);
        }
        self.compare(shell);
        settled
    }

    pub(crate) fn check_settled(&self, shell: &Shell, settled: &[Settled]) {
        for settled in settled {
            let stream = &self.streams[settled.stream];
            // A connection that was still under way at that time may have been refused.
            let Some(remote) = stream.remote.as_ref().filter(|_| !stream.dead) else {
                continue;
            };
            let remote = remote.lock();
            // So may one have been reset.
            if remote.broken {
                continue;
            }
            assert_eq!(remote.read, remote.sent, "all that was sent has been read");
            assert_eq!(
                stream.model.eofs,
                settled.eofs + 1,
                "and its end was told, once"
            );
            assert!(stream.model.input.is_empty(), "and taken");
            assert_eq!(stream.model.output, 0, "all that was written was sent");
            assert_eq!(stream.sent, stream.written);
            let on_this = stream.written - remote.written_from();
            assert_eq!(remote.received, on_this, "and arrived");
            let calls = stream.model.write_calls - settled.write_calls;
            assert!(calls > 0 || !settled.kicked, "enabling writing calls back");
            assert!(shell.core.stream(shell.key(settled.stream)).is_some());
        }
    }

    /// Gives everything up.
    pub(crate) fn end(&mut self, shell: &mut Shell) {
        for id in 0..self.streams.len() {
            if !self.streams[id].model.freed {
                self.free(shell, id);
            }
            while self.streams[id].model.references > 0 {
                self.streams[id].model.references -= 1;
                shell.core.release(shell.key(id));
            }
        }
        self.compare(shell);
    }

    pub(crate) fn check_ended(&self, shell: &Shell) {
        assert!(
            shell.slots.iter().all(|slot| slot.finalized),
            "all are finalized"
        );
        assert_eq!(shell.world.open_descriptors(), 0, "all are closed");
        assert_eq!(shell.core.pending_len(), 0);
        assert_eq!(shell.core.active_len(), 0);
    }
}

/// Has a far end take everything that comes, until nothing has come for so many rounds.
fn drink(world: &World, remote: Shared, rounds: u32) {
    let pause = if rounds == DRY { 2 } else { 20 };
    world.after(Duration::from_millis(pause), move |world| {
        let mut lent = remote.lock();
        let before = lent.received;
        lent.receive(usize::MAX);
        let rounds = if lent.received > before {
            DRY
        } else {
            rounds - 1
        };
        drop(lent);
        if rounds > 0 {
            drink(world, remote, rounds);
        }
    });
}

/// Longer than a connection attempt takes.
const DRY: u32 = 60;

//! Notes by name, which may expire.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::event::{Base, Event};

/// Who is told of each change: name and text; none if the note is gone.
pub type Changed = Rc<dyn Fn(&mut Base, &str, Option<&str>)>;

struct Store {
    notes: BTreeMap<String, Note>,
    changed: Changed,
}

struct Note {
    text: String,
    expiry: Option<Event>,
}

/// Begins with no notes.
pub fn start(base: &mut Base, changed: Changed) {
    base.insert_state(Store {
        notes: BTreeMap::new(),
        changed,
    });
}

/// Puts up a note, in the place of another one of that name.
pub fn set(base: &mut Base, name: &str, text: &str) {
    take(base, name);
    let changed = base.with_state(|_, store: &mut Store| {
        let note = Note {
            text: text.to_owned(),
            expiry: None,
        };
        store.notes.insert(name.to_owned(), note);
        store.changed.clone()
    });
    // Whoever is told may come back for more, so the store is not lent meanwhile.
    if let Some(changed) = changed {
        changed(base, name, Some(text));
    }
}

/// The text of a note.
pub fn get(base: &mut Base, name: &str) -> Option<String> {
    let text =
        |_: &mut Base, store: &mut Store| store.notes.get(name).map(|note| note.text.clone());
    base.with_state(text).flatten()
}

/// Takes a note away. Returns whether it was there.
pub fn del(base: &mut Base, name: &str) -> bool {
    let Some(changed) = take(base, name) else {
        return false;
    };
    changed(base, name, None);
    true
}

/// Has a note taken away in a while. Returns whether it is there.
pub fn expire(base: &mut Base, name: &str, delay: Duration) -> bool {
    let found = base.with_state(|base, store: &mut Store| {
        let note = store.notes.get_mut(name)?;
        if let Some(event) = note.expiry.take() {
            event.free(base);
        }
        let name = name.to_owned();
        note.expiry = Some(base.after(delay, move |base| _ = del(base, &name)));
        Some(())
    });
    found.flatten().is_some()
}

/// Takes all notes away, and tells nobody.
pub fn stop(base: &mut Base) {
    let Some(store) = base.remove_state::<Store>() else {
        return;
    };
    for event in store.notes.into_values().filter_map(|note| note.expiry) {
        event.free(base);
    }
}

/// Takes a note away, and says who is to be told.
fn take(base: &mut Base, name: &str) -> Option<Changed> {
    let taken = base.with_state(|base, store: &mut Store| {
        let note = store.notes.remove(name)?;
        if let Some(event) = note.expiry {
            event.free(base);
        }
        Some(store.changed.clone())
    });
    taken.flatten()
}

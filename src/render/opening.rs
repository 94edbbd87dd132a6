//! Networks: the next fold's is loaded while the one at hand runs.
//!
//! Loading needs the memory of a network twice, since folding normalisation into the
//! convolutions makes new weights. So no two are loaded at once; and for a single batch,
//! whose run is over before the next network could be there, none is loaded ahead.

use std::slice::Iter;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Scope;

use crate::bundle::FoldFile;
use crate::engine::{Engine, Network};
use crate::error::Error;

type Opened = Result<Box<dyn Network>, Error>;

/// Gives the folds in order, each with its network, and loads one ahead.
pub(super) struct Opener<'a> {
    engine: &'a dyn Engine,
    folds: Iter<'a, FoldFile>,
    ahead: bool,
    /// The fold that the other thread is asked for.
    coming: Option<&'a FoldFile>,
    asked: Sender<&'a FoldFile>,
    opened: Receiver<Opened>,
}

impl<'a> Opener<'a> {
    /// A process that runs a network ends with the thread that started it, so this thread
    /// lives as long as the opener.
    pub fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        engine: &'a dyn Engine,
        folds: &'a [FoldFile],
        ahead: bool,
    ) -> Opener<'a>
    where
        'a: 'scope,
    {
        let (asked, questions) = mpsc::channel::<&FoldFile>();
        let (answer, opened) = mpsc::channel();
        scope.spawn(move || {
            for fold in questions {
                if answer.send(engine.open(&fold.file)).is_err() {
                    break;
                }
            }
        });
        Opener { engine, folds: folds.iter(), ahead, coming: None, asked, opened }
    }

    fn ask(&mut self) {
        if !self.ahead {
            return;
        }
        self.coming = self.folds.next();
        if let Some(fold) = self.coming {
            // The thread waits for questions as long as this end is there.
            let _ = self.asked.send(fold);
        }
    }
}

impl<'a> Iterator for Opener<'a> {
    type Item = (&'a FoldFile, Opened);

    fn next(&mut self) -> Option<(&'a FoldFile, Opened)> {
        let Some(fold) = self.coming.take() else {
            // The first one, or one of which nobody was asked: this thread has nothing else
            // to do.
            let fold = self.folds.next()?;
            let network = self.engine.open(&fold.file);
            self.ask();
            return Some((fold, network));
        };
        let network = self.opened.recv().unwrap_or_else(|_| self.engine.open(&fold.file));
        self.ask();
        Some((fold, network))
    }
}

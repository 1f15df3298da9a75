//! An exercise with everything that came back so far.

use domain::{Questionnaire, Timestamp};
use store::{Broadcast, Exercise, Inject, ResponsePoint, Store, StoreError};

/// One question sheet that went out, with its answers.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The notice that asked.
    pub broadcast: Broadcast,
    /// What it asked.
    pub sheet: Questionnaire,
    /// In the order they came.
    pub responses: Vec<ResponsePoint>,
    /// Addressed people per prefecture code (none where unknown).
    pub addressed: Vec<(Option<u8>, u64)>,
}

impl Asked {
    /// People addressed.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.addressed.iter().map(|(_, count)| count).sum()
    }

    /// People who answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.responses.len() as u64
    }

    /// When `percent` of those who answered at all had answered, 1 to 100; none without answers.
    #[must_use]
    pub fn answered_by(&self, percent: u64) -> Option<Timestamp> {
        let rank = (self.answered() * percent).div_ceil(100).checked_sub(1)?;
        self.responses.get(usize::try_from(rank).ok()?).map(|response| response.at)
    }
}

/// An exercise, its timeline, and its question sheets in the order of the timeline.
#[derive(Debug, Clone)]
pub struct Situation {
    /// The exercise.
    pub exercise: Exercise,
    /// Its timeline.
    pub injects: Vec<Inject>,
    /// Sheets that went out; reminders count into the sheet they remind of.
    pub asked: Vec<Asked>,
}

impl Situation {
    /// Reads everything about one exercise.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(store: &Store, exercise: Exercise) -> Result<Self, StoreError> {
        let injects = store.injects(exercise.id).await?;
        let mut asked = Vec::new();
        for id in injects.iter().filter_map(|inject| inject.broadcast) {
            let Some(broadcast) = store.broadcast(id).await? else { continue };
            let Some(sheet) = broadcast.questionnaire else { continue };
            if broadcast.answers_to.is_some() || broadcast.released_at.is_none() {
                continue;
            }
            let Some(sheet) = store.questionnaire(sheet).await? else { continue };
            let responses = store.responses(id).await?;
            let addressed = store.recipients_by_prefecture(id).await?;
            asked.push(Asked { broadcast, sheet, responses, addressed });
        }
        Ok(Self { exercise, injects, asked })
    }
}

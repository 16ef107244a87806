// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Which batches of a stream the service takes, so that each is stored once and in order.

/// Where a stream stands, on the side that stores: one for each stream of a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Order {
    /// Epoch and durable sequence.
    place: Option<(u64, Option<u64>)>,
    /// The sequence that was asked for again: what comes after it was sent before the sender knew.
    wanted: Option<u64>,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// To be stored.
    Take,
    /// Stored before, up to this sequence: to be acknowledged again.
    Known(u64),
    /// Left without a word: it comes again, after the one that was asked for.
    Leave,
}

impl Order {
    /// The durable sequence of an epoch, where it is known here.
    pub fn durable(&self, epoch: u64) -> Option<Option<u64>> {
        self.place.filter(|(of, _)| *of == epoch).map(|(_, durable)| durable)
    }

    /// A batch came; `durable` is what the store has of its epoch.
    pub fn arrived(&mut self, epoch: u64, durable: Option<u64>, sequence: u64) -> Fate {
        self.place = Some((epoch, durable));
        match durable {
            Some(durable) if sequence <= durable => Fate::Known(durable),
            _ if self.wanted.is_some_and(|wanted| sequence > wanted) => Fate::Leave,
            _ => Fate::Take,
        }
    }

    /// The batch that was taken is durable, or passed over for good.
    pub fn stored(&mut self, epoch: u64, sequence: u64) {
        self.wanted = None;
        self.place = Some((epoch, Some(sequence)));
    }

    /// The batch that was taken could not be stored now, and is asked for again.
    pub fn failed(&mut self, sequence: u64) {
        self.wanted = Some(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_batch_that_failed_waits_for_it() {
        let mut order = Order::default();
        assert_eq!(order.durable(7), None);
        assert_eq!(order.arrived(7, Some(3), 3), Fate::Known(3));
        assert_eq!(order.arrived(7, Some(3), 4), Fate::Take);
        order.failed(4);
        // These were on their way already; one that was stored long ago is acknowledged as ever.
        assert_eq!(order.arrived(7, Some(3), 5), Fate::Leave);
        assert_eq!(order.arrived(7, Some(3), 6), Fate::Leave);
        assert_eq!(order.arrived(7, Some(3), 2), Fate::Known(3));
        // It may fail again, and nothing goes past it.
        assert_eq!(order.arrived(7, Some(3), 4), Fate::Take);
        order.failed(4);
        assert_eq!(order.arrived(7, Some(3), 5), Fate::Leave);
        assert_eq!(order.arrived(7, Some(3), 4), Fate::Take);
        order.stored(7, 4);
        assert_eq!(order.durable(7), Some(Some(4)));
        assert_eq!(order.arrived(7, Some(4), 5), Fate::Take);
        order.stored(7, 5);
        assert_eq!((order.arrived(7, Some(5), 4), order.arrived(7, Some(5), 6)), (Fate::Known(5), Fate::Take));
    }

    #[test]
    fn an_epoch_has_sequences_of_its_own() {
        let mut order = Order::default();
        order.arrived(7, None, 9);
        order.stored(7, 9);
        assert_eq!(order.durable(8), None);
        assert_eq!(order.arrived(8, None, 0), Fate::Take);
    }
}

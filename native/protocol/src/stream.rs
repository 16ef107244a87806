// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Batches on a data stream. What flows repeat is said once a stream: each batch of them follows from those before it, so they are read in the
//! order in which they were written, all of them. Batches of other kinds travel as they are.
//!
//! A batch whose place is 0 begins anew: its reader forgets what came before. A stream's first one does, and one after so many batches. A reader
//! that missed a batch, or could not read one, gives [`WireError::OutOfStep`] until then; whoever wrote them begins a new stream and sends them again.

use crate::{
    WireError,
    batch::{self, Form, Header, Payload},
    flow::{FlowReader, FlowWriter},
};

/// Batches after which a stream begins anew: some hours of a quiet one. What was learnt of a cloud that has changed since is forgotten then.
const MAX_PLACE: u32 = 16_384;

/// Writes the batches of one stream.
#[derive(Default)]
pub struct StreamWriter {
    flows: FlowWriter,
    place: u32,
}

impl StreamWriter {
    /// A batch that stands for itself, as it travels next on the stream. One that can't be read travels as it is: its reader says so.
    pub fn write(&mut self, alone: &[u8]) -> Vec<u8> {
        match batch::decode(alone) {
            // An error is not possible for flows that fitted into a batch.
            Ok((header, Payload::Flows(flows))) => self.flows(header, &flows).unwrap_or_else(|_| alone.to_vec()),
            _ => alone.to_vec(),
        }
    }

    /// The same of a batch whose records are at hand. After an error the next batch begins anew.
    pub fn write_records(&mut self, payload: &Payload) -> Result<Vec<u8>, WireError> {
        match payload {
            Payload::Flows(flows) => self.flows(batch::header_of(payload), flows),
            _ => batch::encode(payload),
        }
    }

    fn flows(&mut self, header: Header, flows: &[crate::flow::FlowFact]) -> Result<Vec<u8>, WireError> {
        if self.place >= MAX_PLACE {
            *self = StreamWriter::default();
        }
        let place = self.place;
        let written = self.flows.write(flows).and_then(|body| batch::in_stream(header, place, &body));
        match written {
            Ok(_) => self.place += 1,
            // What was learnt of it is unknown to the reader: the next one begins anew.
            Err(_) => *self = StreamWriter::default(),
        }
        written
    }
}

/// Reads the batches of one stream.
#[derive(Default)]
pub struct StreamReader {
    /// What is known of the stream, and the place that comes next.
    flows: Option<(Box<FlowReader>, u32)>,
}

impl StreamReader {
    /// The records of the next batch. Fails with [`WireError::OutOfStep`] where the batch can be read once it is sent on a stream that begins
    /// with it; any other error is one of the batch itself.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(Header, Payload), WireError> {
        let (header, body) = batch::body(bytes)?;
        let Form::InStream(place) = header.form() else {
            return batch::decode(bytes);
        };
        // What is known is gone unless all goes well.
        let mut flows = match (place, self.flows.take()) {
            (0, _) => Box::default(),
            (_, Some((flows, next))) if next == place => flows,
            _ => return Err(WireError::OutOfStep),
        };
        match flows.read(body, header.records as usize) {
            Ok(records) => {
                self.flows = Some((flows, place.saturating_add(1)));
                Ok((header, Payload::Flows(records)))
            }
            Err(error) if place == 0 => Err(error),
            // What is wrong may be in what was known.
            Err(_) => Err(WireError::OutOfStep),
        }
    }

    /// Bytes that are kept for the next batch, roughly.
    pub fn memory(&self) -> usize {
        self.flows.as_ref().map_or(0, |(flows, _)| flows.memory())
    }

    /// Forgets what is known; the next batch that follows from it is out of step.
    pub fn forget(&mut self) {
        self.flows = None;
    }
}

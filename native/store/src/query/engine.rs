// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    datasource::MemTable,
    execution::{
        SendableRecordBatchStream,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::{DataFrame, SessionConfig, SessionContext},
};
use parking_lot::Mutex;
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{Answer, Budget, Scanned, SiteTable, lanes::Lanes};
use crate::{
    StoreError,
    ids::{Grain, Period, SiteId},
    store::StoreOptions,
    table::Snapshot,
};

/// Rows that flow through a plan at once.
const BATCH_ROWS: usize = 8_192;

/// Footers of files that are kept decoded, bytes: some thousand files.
const METADATA_CACHE_BYTES: usize = 128 << 20;

/// The same for the store's own work, which opens a file once.
const OWN_METADATA_CACHE_BYTES: usize = 4 << 20;

/// How often a running question is held against its budget.
const BUDGET_CHECK: Duration = Duration::from_millis(50);

/// Runs questions on threads of their own, so that ingest never waits behind one.
pub(crate) struct Engine {
    runtime: Option<Runtime>,
    lanes: Lanes<SessionContext>,
    /// For the store's own work, whose memory is bounded by what it works on and which must not wait for what people ask.
    own: SessionContext,
    threads: usize,
}

/// One question while it runs.
#[derive(Clone)]
pub(crate) struct Run {
    inner: Arc<RunInner>,
}

struct RunInner {
    context: SessionContext,
    threads: usize,
    plans: Mutex<Vec<Arc<dyn ExecutionPlan>>>,
    memory_rows: AtomicU64,
    files: AtomicU64,
    /// What the question reads: files that are merged or purged meanwhile stay on the disk until it is done, since a plan knows only names.
    held: Mutex<Vec<Snapshot>>,
    /// The coarsest level that was read, and the period that the answer is about.
    source: Mutex<(Grain, Option<Period>)>,
    started: Instant,
}

impl Engine {
    pub(crate) fn new(options: &StoreOptions) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.query_threads.max(1))
            .thread_name("store-query")
            .enable_all()
            .build()
            .map_err(|source| StoreError::io("start the query threads", source))?;
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.query_memory_bytes)))
            // A question that needs more memory than there is ends with its budget; it never fills the disk.
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_metadata_cache_limit(METADATA_CACHE_BYTES)
            .build_arc()
            .map_err(|source| StoreError::columns("start the query engine", source))?;
        let own = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_metadata_cache_limit(OWN_METADATA_CACHE_BYTES)
            .build_arc()
            .map_err(|source| StoreError::columns("start the query engine", source))?;
        let mut config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_target_partitions(options.query_threads.max(1))
            .with_repartition_file_scans(false);
        let parquet = &mut config.options_mut().execution.parquet;
        // Off by default; measured on a search by path: 2.1 s without, 15 ms with.
        parquet.pushdown_filters = true;
        parquet.reorder_filters = true;
        parquet.schema_force_view_types = false;
        let own = SessionContext::new_with_config_rt(config.clone(), own);
        let context = SessionContext::new_with_config_rt(config, environment);
        Ok(Self {
            runtime: Some(runtime),
            lanes: Lanes::in_memory(options, context),
            own,
            threads: options.query_threads.max(1),
        })
    }

    /// Runs a question about a site within its budget, when it is its turn. It ends when the returned future is dropped.
    pub(crate) async fn run<T, F>(&self, site: SiteId, budget: Budget, work: impl FnOnce(Run) -> F + Send) -> Result<Answer<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let asked = Instant::now();
        let Some(runtime) = &self.runtime else { return Err(StoreError::Shut) };
        let over = |what, scanned| Err(StoreError::OverBudget { what, scanned });
        let place = self.lanes.enter(site, budget.time).await?;
        let run = self.start(&place.context, asked);
        let mut task = Task(runtime.spawn(work(run.clone())));
        let mut check = tokio::time::interval(BUDGET_CHECK);
        loop {
            tokio::select! {
                biased;
                done = &mut task.0 => {
                    let value = match done {
                        Ok(value) => value?,
                        Err(failed) => match failed.try_into_panic() {
                            Ok(panic) => std::panic::resume_unwind(panic),
                            Err(_) => return Err(StoreError::Shut),
                        },
                    };
                    return Ok(Answer { value, scanned: run.scanned() });
                }
                _ = check.tick() => {
                    let scanned = run.scanned();
                    if scanned.elapsed > budget.time {
                        return over("time", scanned);
                    }
                    if scanned.rows > budget.rows {
                        return over("rows", scanned);
                    }
                    if scanned.bytes > budget.bytes {
                        return over("bytes", scanned);
                    }
                }
            }
        }
    }

    /// Runs work of the store itself, on the calling thread, which may block.
    pub(crate) fn run_now<T>(&self, work: impl AsyncFnOnce(Run) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(runtime) = &self.runtime else { return Err(StoreError::Shut) };
        runtime.block_on(work(self.start(&self.own, Instant::now())))
    }

    fn start(&self, context: &SessionContext, started: Instant) -> Run {
        Run {
            inner: Arc::new(RunInner {
                context: context.clone(),
                threads: self.threads,
                plans: Mutex::new(Vec::new()),
                memory_rows: AtomicU64::new(0),
                files: AtomicU64::new(0),
                held: Mutex::new(Vec::new()),
                source: Mutex::default(),
                started,
            }),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A runtime must not be waited for in async code, where the last handle of a store may well be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends with its handle.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Run {
    pub(crate) fn threads(&self) -> usize {
        self.inner.threads
    }

    pub(crate) fn context(&self) -> &SessionContext {
        &self.inner.context
    }

    pub(crate) fn table(&self, table: SiteTable) -> Result<DataFrame, StoreError> {
        let (rows, files) = table.size();
        self.inner.memory_rows.fetch_add(rows, Ordering::Relaxed);
        self.inner.files.fetch_add(files, Ordering::Relaxed);
        self.inner.held.lock().push(table.snapshot().clone());
        self.inner.context.read_table(Arc::new(table)).map_err(failed)
    }

    /// Rows that are in no table.
    pub(crate) fn rows(&self, schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<DataFrame, StoreError> {
        let table = MemTable::try_new(schema, vec![rows]).map_err(failed)?;
        self.inner.context.read_table(Arc::new(table)).map_err(failed)
    }

    /// Notes what the answer is made from.
    pub(crate) fn read_from(&self, level: Grain, period: Option<Period>) {
        let mut source = self.inner.source.lock();
        *source = (source.0.max(level), period.or(source.1));
    }

    pub(crate) async fn stream(&self, frame: DataFrame) -> Result<SendableRecordBatchStream, StoreError> {
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(failed)?;
        self.inner.plans.lock().push(Arc::clone(&plan));
        execute_stream(plan, context).map_err(failed)
    }

    pub(crate) fn scanned(&self) -> Scanned {
        let (level, period) = *self.inner.source.lock();
        let mut scanned = Scanned {
            level,
            period,
            rows: self.inner.memory_rows.load(Ordering::Relaxed),
            bytes: 0,
            files: self.inner.files.load(Ordering::Relaxed),
            elapsed: self.inner.started.elapsed(),
        };
        for plan in self.inner.plans.lock().iter() {
            add(plan, &mut scanned);
        }
        scanned
    }
}

/// Sums what the file scans of a plan have read so far.
fn add(plan: &Arc<dyn ExecutionPlan>, scanned: &mut Scanned) {
    if let Some(metrics) = plan.metrics() {
        let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64);
        let bytes = sum("bytes_scanned");
        if bytes > 0 {
            scanned.bytes += bytes;
            // Rows that a pushed-down filter looked at; without one, all rows come out.
            let filtered = sum("pushdown_rows_matched") + sum("pushdown_rows_pruned");
            scanned.rows += filtered.max(metrics.output_rows().unwrap_or(0) as u64);
        }
    }
    for child in plan.children() {
        add(child, scanned);
    }
}

/// An error of the engine. A question that needs more memory than there is has reached a bound, nothing is wrong.
pub(crate) fn failed(source: datafusion::error::DataFusionError) -> StoreError {
    match source.find_root() {
        datafusion::error::DataFusionError::ResourcesExhausted(_) => StoreError::OverBudget {
            what: "memory",
            scanned: Scanned::default(),
        },
        _ => StoreError::columns("answer a question", source),
    }
}

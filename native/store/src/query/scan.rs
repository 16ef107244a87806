// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{fmt, sync::Arc};

use datafusion::{arrow::compute::SortOptions, datasource::memory::MemorySourceConfig};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::config::TableParquetOptions,
    datasource::{
        TableType,
        file_format::{FileFormat, parquet::ParquetFormat},
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
    },
    error::{DataFusionError, Result},
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown},
    object_store::path::Path as ObjectPath,
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col},
    physical_plan::{ExecutionPlan, empty::EmptyExec, union::UnionExec},
};
use futures::future::BoxFuture;

use crate::{
    ids::Period,
    table::{Snapshot, TableKind},
};

/// One table of one site, as rows in memory and files that a question reads: those of its snapshot and no others.
pub(crate) struct SiteTable {
    kind: TableKind,
    snapshot: Snapshot,
    layout: Layout,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Layout {
    /// Files in so many groups that are read side by side.
    Grouped(usize),
    /// Each file by itself, so that its order counts.
    Ordered,
}

impl SiteTable {
    pub(crate) fn new(kind: TableKind, snapshot: Snapshot, layout: Layout) -> Self {
        Self { kind, snapshot, layout }
    }

    /// For questions that read all and don't care for order.
    pub(crate) fn grouped(kind: TableKind, snapshot: Snapshot, groups: usize) -> Self {
        Self::new(kind, snapshot, Layout::Grouped(groups.max(1)))
    }

    /// For questions that want rows in the order of the table.
    pub(crate) fn ordered(kind: TableKind, snapshot: Snapshot) -> Self {
        Self::new(kind, snapshot, Layout::Ordered)
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Rows in memory and number of files.
    pub(crate) fn size(&self) -> (u64, u64) {
        let rows = self.snapshot.memory.iter().map(|batch| batch.rows.num_rows() as u64).sum();
        (rows, self.snapshot.files.len() as u64)
    }

    /// First time of the rows, and behind the last one.
    pub(crate) fn span(&self) -> Period {
        self.snapshot.span()
    }

    async fn plan(&self, state: &dyn Session, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.kind.schema();
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !self.snapshot.memory.is_empty() {
            let rows = self.snapshot.memory.iter().map(|batch| batch.rows.clone()).collect();
            parts.push(MemorySourceConfig::try_new_exec(&[rows], Arc::clone(&schema), projection.cloned())?);
        }
        if !self.snapshot.files.is_empty() {
            let parquet = TableParquetOptions {
                global: state.config_options().execution.parquet.clone(),
                ..TableParquetOptions::default()
            };
            let format = ParquetFormat::default().with_options(parquet);
            let mut scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(ParquetSource::new(Arc::clone(&schema))))
                .with_file_groups(self.groups()?)
                .with_projection_indices(projection.cloned())?;
            if self.layout == Layout::Ordered {
                scan = scan.with_output_ordering(vec![self.order()?]);
            }
            parts.push(format.create_physical_plan(state, scan.build()).await?);
        }
        match parts.len() {
            0 => {
                let schema = match projection {
                    Some(projection) => Arc::new(schema.project(projection)?),
                    None => schema,
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            _ => UnionExec::try_new(parts),
        }
    }

    fn groups(&self) -> Result<Vec<FileGroup>> {
        let groups = match self.layout {
            Layout::Grouped(groups) => groups.min(self.snapshot.files.len()),
            Layout::Ordered => self.snapshot.files.len(),
        };
        let mut out: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
        for (index, file) in self.snapshot.files.iter().enumerate() {
            let mut part = PartitionedFile::new("", file.bytes);
            part.object_meta.location = ObjectPath::from_absolute_path(&file.path).map_err(|error| DataFusionError::External(Box::new(error)))?;
            out[index % groups].push(part);
        }
        Ok(out.into_iter().map(FileGroup::new).collect())
    }

    fn order(&self) -> Result<LexOrdering> {
        let schema = self.kind.schema();
        let keys = self
            .kind
            .order()
            .iter()
            .map(|(name, descending)| {
                Ok(PhysicalSortExpr::new(
                    col(name, &schema)?,
                    SortOptions {
                        descending: *descending,
                        nulls_first: false,
                    },
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        LexOrdering::new(keys).ok_or_else(|| DataFusionError::Internal("a table without an order".into()))
    }
}

impl fmt::Debug for SiteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteTable")
            .field("kind", &self.kind)
            .field("layout", &self.layout)
            .field("size", &self.size())
            .finish()
    }
}

impl TableProvider for SiteTable {
    fn schema(&self) -> SchemaRef {
        self.kind.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The filter stays in the plan, from where the optimizer hands it to the file scan and leaves it over the rows in memory.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    // What `async_trait` makes of the trait's method.
    fn scan<'life0, 'life1, 'life2, 'life3, 'async_trait>(
        &'life0 self,
        state: &'life1 dyn Session,
        projection: Option<&'life2 Vec<usize>>,
        _filters: &'life3 [Expr],
        _limit: Option<usize>,
    ) -> BoxFuture<'async_trait, Result<Arc<dyn ExecutionPlan>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.plan(state, projection))
    }
}

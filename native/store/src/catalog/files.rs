// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The list of the column store's files, and how far the commit log is contained in them.

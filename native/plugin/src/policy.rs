// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What Java sees when a call fails: an exception, whatever happened, and never an unwinding stack.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jni::Env;
use jni::errors::ErrorPolicy;
use jni::strings::{JNIStr, JNIString};

use crate::panics;

/// Throws an exception with the whole chain of causes, or with the text of the panic, and gives Java the default value.
///
/// The policies that come with `jni` lose the text of a formatted panic.
pub struct Throw;

/// An error that says which exception Java gets for it.
pub trait Exception: Error {
    /// Name of a class of `java.lang`, in JNI's form.
    fn class(&self) -> &'static JNIStr;
}

impl<T: Default, E: Exception> ErrorPolicy<T, E> for Throw {
    type Captures<'local: 'native_method, 'native_method> = ();

    fn on_error<'local: 'native_method, 'native_method>(
        env: &mut Env<'local>,
        _: &mut Self::Captures<'local, 'native_method>,
        error: E,
    ) -> jni::errors::Result<T> {
        throw(env, error.class(), &chain(&error))
    }

    fn on_panic<'local: 'native_method, 'native_method>(
        env: &mut Env<'local>,
        _: &mut Self::Captures<'local, 'native_method>,
        payload: Box<dyn Any + Send>,
    ) -> jni::errors::Result<T> {
        let text = format!("native panic: {}", panics::message(&*payload));
        forget_safely(payload);
        throw(env, jni::jni_str!("java/lang/RuntimeException"), &text)
    }

    fn on_internal_jni_error<'local: 'native_method, 'native_method>(_: &mut Self::Captures<'local, 'native_method>, error: jni::errors::Error) -> T {
        log::error!("give an exception to Java: {}", chain(&error));
        T::default()
    }

    fn on_internal_panic<'local: 'native_method, 'native_method>(_: &mut Self::Captures<'local, 'native_method>, payload: Box<dyn Any + Send>) -> T {
        forget_safely(payload);
        T::default()
    }
}

/// The message of an error and of its causes, joined by colons.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn throw<T: Default>(env: &mut Env<'_>, class: &JNIStr, message: &str) -> jni::errors::Result<T> {
    if env.exception_check() {
        return Ok(T::default());
    }
    match env.throw_new(class, JNIString::new(message)) {
        // This is how `jni` says that the exception is on its way.
        Ok(()) | Err(jni::errors::Error::JavaException) => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// Drops a panic's payload, whose own drop may panic in turn; that second payload is leaked.
fn forget_safely(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the spool")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no space")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("start: {0}")]
    struct Repeats(#[source] Inner);

    #[test]
    fn causes_are_joined_and_said_once() {
        assert_eq!(chain(&Outer(Inner)), "open the spool: no space");
        assert_eq!(chain(&Repeats(Inner)), "start: no space");
    }
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::sync::{Arc, OnceLock};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use rand::Rng;
use tokio::sync::Semaphore;

use super::AccountError;

/// Shortest password, in characters.
pub const MIN_PASSWORD: usize = 12;

/// Longest password, in characters: hashing cost grows with it.
pub const MAX_PASSWORD: usize = 256;

/// Argon2id with 19 MiB, 2 passes, 1 lane: the smallest that OWASP recommends.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes at once: each takes 19 MiB and a core for some 50 ms. More callers wait.
const AT_ONCE: usize = 2;

/// Hashes and checks passwords, off the async threads.
#[derive(Clone)]
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash of a password that nobody has, checked when there is no account: that takes as long as a real check.
    decoy: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            decoy: Arc::default(),
        }
    }
}

impl Passwords {
    pub(super) async fn hash(&self, password: String) -> Result<String, AccountError> {
        if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.chars().count()) {
            return Err(AccountError::PasswordLength);
        }
        self.run(move || hash(&password)).await?
    }

    /// Whether the password is that of the hash; against no hash it is always false, after the same time.
    pub(super) async fn verify(&self, password: String, hash_text: Option<String>) -> Result<bool, AccountError> {
        let decoy = self.decoy.clone();
        self.run(move || {
            let known = hash_text.is_some();
            let text = match hash_text {
                Some(text) => text,
                None => match decoy.get() {
                    Some(text) => text.clone(),
                    None => {
                        let text = hash(&generate_password())?;
                        decoy.get_or_init(|| text).clone()
                    }
                },
            };
            let parsed = PasswordHash::new(&text).map_err(|_| AccountError::Hash)?;
            let cut: String = password.chars().take(MAX_PASSWORD + 1).collect();
            Ok(argon2()?.verify_password(cut.as_bytes(), &parsed).is_ok() && known)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AccountError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| AccountError::Hash)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| AccountError::Hash)
    }
}

/// A password for an account that an operator makes: 20 letters and digits that can't be mistaken for each other, 114 bits.
pub fn generate_password() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..20).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

fn argon2() -> Result<Argon2<'static>, AccountError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| AccountError::Hash)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, AccountError> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|_| AccountError::Hash)?;
    Ok(argon2()?
        .hash_password(password.as_bytes(), &salt)
        .map_err(|_| AccountError::Hash)?
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_opens_its_own_hash_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horse batterz".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("correct horse battery".into(), None).await.unwrap());
        assert!(matches!(passwords.hash("short".into()).await, Err(AccountError::PasswordLength)));
    }

    #[test]
    fn generated_passwords_are_long_enough_and_differ() {
        let (one, two) = (generate_password(), generate_password());
        assert_ne!(one, two);
        assert!(one.len() >= MIN_PASSWORD);
    }
}

//! Allocations of SQLite that fail.
//!
//! Invariant: only allocations of this thread fail; all others go to SQLite's own allocator.
//! Does not depend on: what SQLite needs memory for.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

/// Lets the n-th allocation of SQLite in this thread fail.
#[derive(Clone, Copy, Debug)]
pub struct AllocationFaults(());

thread_local! {
    /// How many allocations were made since the last beginning, and which of them fails.
    static ALLOCATIONS: Cell<(u64, Option<u64>)> = const { Cell::new((0, None)) };
}

static MALLOC: OnceLock<unsafe extern "C" fn(c_int) -> *mut c_void> = OnceLock::new();
static REALLOC: OnceLock<unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void> = OnceLock::new();

impl AllocationFaults {
    /// Puts itself between SQLite and its allocator, for the whole process. None if SQLite is in use already: this must
    /// come before the first connection.
    pub fn install() -> Option<Self> {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        let installed = *INSTALLED.get_or_init(|| {
            let mut methods = std::mem::MaybeUninit::<ffi::sqlite3_mem_methods>::zeroed();
            // SAFETY: this verb fills in the table that it is passed; it is refused if SQLite is in use. The second
            // copies the table. Both functions that are exchanged pass on to the ones that stood there.
            unsafe {
                if ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, methods.as_mut_ptr()) != ffi::SQLITE_OK {
                    return false;
                }
                let mut methods = methods.assume_init();
                let (Some(malloc), Some(realloc)) = (methods.xMalloc, methods.xRealloc) else { return false };
                let _ = MALLOC.set(malloc);
                let _ = REALLOC.set(realloc);
                methods.xMalloc = Some(counted_malloc);
                methods.xRealloc = Some(counted_realloc);
                ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut methods) == ffi::SQLITE_OK
            }
        });
        installed.then_some(Self(()))
    }

    /// From now on the n-th allocation of this thread fails, counted from 0; none if not said.
    pub fn begin(self, fail_at: Option<u64>) {
        ALLOCATIONS.set((0, fail_at));
    }

    /// Lets no more fail; says how many there were since the beginning.
    pub fn end(self) -> u64 {
        ALLOCATIONS.replace((0, None)).0
    }
}

fn allocation_fails() -> bool {
    let (count, fail_at) = ALLOCATIONS.get();
    ALLOCATIONS.set((count + 1, fail_at));
    fail_at == Some(count)
}

unsafe extern "C" fn counted_malloc(bytes: c_int) -> *mut c_void {
    match MALLOC.get() {
        // SAFETY: it is SQLite's own allocator, called as SQLite would.
        Some(malloc) if !allocation_fails() => unsafe { malloc(bytes) },
        _ => ptr::null_mut(),
    }
}

unsafe extern "C" fn counted_realloc(old: *mut c_void, bytes: c_int) -> *mut c_void {
    match REALLOC.get() {
        // SAFETY: it is SQLite's own allocator, called as SQLite would; what fails leaves the old memory as it was.
        Some(realloc) if !allocation_fails() => unsafe { realloc(old, bytes) },
        _ => ptr::null_mut(),
    }
}

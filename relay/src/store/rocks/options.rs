//! How RocksDB is set up, and why.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DEFAULT_COLUMN_FAMILY_NAME, DataBlockIndexType, LogLevel, MemtableFactory, Options, SliceTransform,
    WriteBufferManager,
};

use super::super::keys::{ADDRESS, DELETED, EVENTS, IDS, Index, JOURNAL, META};

const MIB: usize = 1 << 20;
/// One part of a file's index or filter.
const METADATA_BLOCK_BYTES: usize = 4 << 10;
/// The log that a crash leaves to be read again stays about this long.
const MAX_LOG_BYTES: u64 = 64 << 20;

/// What an operator may want to size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RocksOptions {
    /// Blocks of files, their indexes and filters, and the write buffers, together.
    pub block_cache_bytes: usize,
    /// Part of the block cache that not yet sorted writes may take.
    pub write_buffer_bytes: usize,
    /// Events kept ready to send.
    pub body_cache_bytes: u64,
    /// File handles held open.
    pub max_open_files: i32,
    /// Threads that sort and merge files in the background.
    pub background_jobs: i32,
    /// Whether `commit` waits until the disk has the writes. Off for an import that can be repeated.
    pub durable: bool,
    /// For writing much at once and reading little: indexes are sorted when they are flushed, not at every entry. Scans
    /// are slow meanwhile.
    pub bulk: bool,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 128 * MIB,
            write_buffer_bytes: 64 * MIB,
            body_cache_bytes: 32 << 20,
            max_open_files: 512,
            background_jobs: 2,
            durable: true,
            bulk: false,
        }
    }
}

/// Every family name.
pub fn families() -> Vec<&'static str> {
    let single = [EVENTS, IDS, ADDRESS, DELETED, JOURNAL, META];
    single.into_iter().chain(Index::ALL.map(Index::family)).collect()
}

/// Options of the database as a whole.
pub fn database(options: &RocksOptions, cache: &Cache) -> Options {
    let mut db = Options::default();
    db.increase_parallelism(options.background_jobs);
    db.set_max_background_jobs(options.background_jobs);
    db.set_max_open_files(options.max_open_files);
    let buffers =
        WriteBufferManager::new_write_buffer_manager_with_cache(options.write_buffer_bytes, false, cache.clone());
    db.set_write_buffer_manager(&buffers);
    // Rarely written families would otherwise hold the log back for ever.
    db.set_max_total_wal_size(MAX_LOG_BYTES.max(if options.bulk { 2 * options.write_buffer_bytes as u64 } else { 0 }));
    if options.bulk {
        // What the unsorted memtables ask for; there is one writer anyway.
        db.set_allow_concurrent_memtable_write(false);
    }
    // After a power cut the log ends in a torn group: everything before it counts, as it was acknowledged.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Logs are not recycled, though a sync would cost half: a secondary that opens a log which is written over a longer
    // one reads for ever (RocksDB 11.8), and every verb beside a relay is one.
    db.set_bytes_per_sync(MIB as u64);
    // Start must not read every file's properties.
    db.set_skip_stats_update_on_db_open(true);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(2);
    db
}

/// One descriptor for each family.
pub fn descriptors(options: &RocksOptions, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let mut all = vec![
        // RocksDB opens it anyway. After a full disk it waits for room for the largest write buffer: its own is 64 MiB.
        ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, family(options, &blocks(cache))),
        ColumnFamilyDescriptor::new(EVENTS, events(options, cache)),
        ColumnFamilyDescriptor::new(IDS, points(options, cache)),
        ColumnFamilyDescriptor::new(ADDRESS, points(options, cache)),
        ColumnFamilyDescriptor::new(DELETED, points(options, cache)),
        ColumnFamilyDescriptor::new(JOURNAL, family(options, &blocks(cache))),
        ColumnFamilyDescriptor::new(META, family(options, &blocks(cache))),
    ];
    all.extend(Index::ALL.map(|i| ColumnFamilyDescriptor::new(i.family(), index(i, options, cache))));
    all
}

fn family(options: &RocksOptions, table: &BlockBasedOptions) -> Options {
    let mut family = Options::default();
    family.set_block_based_table_factory(table);
    family.set_write_buffer_size((options.write_buffer_bytes / 8).max(MIB));
    family.set_level_compaction_dynamic_level_bytes(true);
    // Keys are mostly hashes: compression would cost more than it saves.
    family.set_compression_type(DBCompressionType::None);
    family
}

fn blocks(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes and filters count against the one bound on memory, but go last.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In parts, of which a lookup needs one: whole ones of a large store push each other, and the data, out of the cache.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(6);
    table
}

/// Bodies: found by whole key, walked in order of time by exports.
fn events(options: &RocksOptions, cache: &Cache) -> Options {
    let mut table = blocks(cache);
    table.set_block_size(8 << 10);
    table.set_bloom_filter(10.0, false);
    let mut family = family(options, &table);
    family.set_write_buffer_size((options.write_buffer_bytes / 4).max(MIB));
    family.set_compression_type(DBCompressionType::Lz4);
    // Only what an index names is looked up: it is there, and most of all in the last level.
    family.set_optimize_filters_for_hits(true);
    family
}

/// Keys that are mostly asked for to learn that they are absent.
fn points(options: &RocksOptions, cache: &Cache) -> Options {
    let mut table = blocks(cache);
    table.set_ribbon_filter(10.0);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut family = family(options, &table);
    family.set_memtable_whole_key_filtering(true);
    family.set_memtable_prefix_bloom_ratio(0.05);
    family
}

/// Ranges that share a prefix; whole keys are never looked up.
fn index(index: Index, options: &RocksOptions, cache: &Cache) -> Options {
    let mut table = blocks(cache);
    table.set_bloom_filter(10.0, false);
    table.set_whole_key_filtering(false);
    let mut family = family(options, &table);
    family.set_prefix_extractor(SliceTransform::create_fixed_prefix(index.prefix_bytes()));
    if options.bulk {
        family.set_memtable_factory(MemtableFactory::Vector);
    } else {
        family.set_memtable_prefix_bloom_ratio(0.05);
    }
    // A replaced or expired event leaves a mark that scans step over; files full of marks are merged first.
    family.add_compact_on_deletion_collector_factory(1024, 512, 0.5);
    family
}

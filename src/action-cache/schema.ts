/**
 * `total` is kept by triggers, so that it is right after any crash and known without a look at each row.
 * The index on `used_at` is in the order of eviction, and holds all that eviction reads.
 */
export const actionCacheMigrations: readonly string[] = [
  `create table entry (
     id integer primary key,
     namespace text not null,
     digest_function text not null,
     hash blob not null,
     action_size_bytes integer not null,
     result blob not null,
     size_bytes integer not null,
     used_at integer not null,
     unique (namespace, digest_function, hash, action_size_bytes)
   ) strict;
   create index entry_by_use on entry (used_at, id, size_bytes);
   create table total (size_bytes integer not null) strict;
   insert into total values (0);
   create trigger entry_added after insert on entry begin
     update total set size_bytes = size_bytes + new.size_bytes;
   end;
   create trigger entry_replaced after update of size_bytes on entry begin
     update total set size_bytes = size_bytes + new.size_bytes - old.size_bytes;
   end;
   create trigger entry_removed after delete on entry begin
     update total set size_bytes = size_bytes - old.size_bytes;
   end;`,
];

/**
 * URIs are kept as hashes: they may hold passwords and signatures. `credentials` is a fingerprint that
 * only the process that wrote it can make again. `total` is kept by triggers, as for the action cache.
 */
export const assetMigrations: readonly string[] = [
  `create table asset (
     id integer primary key,
     namespace text not null,
     kind text not null,
     uri_hash blob not null,
     digest_function text not null,
     origin text not null,
     qualifiers text not null,
     credentials text not null,
     content blob not null,
     stored_at integer not null,
     expires_at integer,
     size_bytes integer not null,
     used_at integer not null,
     unique (namespace, kind, uri_hash, digest_function, origin, qualifiers)
   ) strict;
   create index asset_by_age on asset (namespace, kind, uri_hash, digest_function, stored_at, id);
   create index asset_by_use on asset (used_at, id, size_bytes);
   create table total (size_bytes integer not null) strict;
   insert into total values (0);
   create trigger asset_added after insert on asset begin
     update total set size_bytes = size_bytes + new.size_bytes;
   end;
   create trigger asset_replaced after update of size_bytes on asset begin
     update total set size_bytes = size_bytes + new.size_bytes - old.size_bytes;
   end;
   create trigger asset_removed after delete on asset begin
     update total set size_bytes = size_bytes - old.size_bytes;
   end;`,
];

create table orders (
    id serial primary key,
    item text not null,
    state text not null default 'new',
    search text
);

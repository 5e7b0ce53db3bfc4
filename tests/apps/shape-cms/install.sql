create table pages (name text primary key, body text);
insert into pages values ('home', 'welcome');

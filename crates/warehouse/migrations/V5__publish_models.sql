-- Which words made the rows of a publish: the files of the model and of its source, as they were then.
alter table daymark.publish_table add column model_file text, add column model_sha256 text,
    add column source_sha256 text;

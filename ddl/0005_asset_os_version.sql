-- The version of the operating system as a column; until now it stood in the metadata.

ALTER TABLE execution.assets ADD COLUMN os_version text;
UPDATE execution.assets
   SET os_version = metadata ->> 'os_version', metadata = metadata - 'os_version'
 WHERE metadata ? 'os_version';

-- Is a request part of a git fetch or push?
-- By its service: what follows the advertisement of refs counts with it.
CREATE OR REPLACE MACRO is_git(p_service) AS p_service IN ('git-upload-pack', 'git-receive-pack');

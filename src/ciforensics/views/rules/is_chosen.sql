-- Is a CI repository one of those that were asked for?
-- `p_repos` has commas between them, capitals make no difference; without a name in it all are, also rows without one.
CREATE OR REPLACE MACRO is_chosen(p_repos, p_ci_repo) AS
    coalesce(trim(p_repos, ' ,'), '') = ''
    OR coalesce(list_contains(string_split(lower(replace(p_repos, ' ', '')), ','), lower(p_ci_repo)), false);
